# Boost.Asio (headers only) with its non-template code compiled once.
find_package(Boost 1.81 REQUIRED)
add_library(skyray_asio STATIC ${CMAKE_CURRENT_LIST_DIR}/asio_impl.cc)
target_compile_definitions(skyray_asio PUBLIC
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED)
target_link_libraries(skyray_asio PUBLIC Boost::headers Threads::Threads)

# gRPC and protobuf for the daemons (never for the extension): the static
# archives of libgrpc++-dev and libprotobuf-dev, without TLS.
find_program(PROTOC protoc REQUIRED)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(GRPCPP REQUIRED grpc++_unsecure)

add_library(skyray_grpc INTERFACE)
target_include_directories(skyray_grpc SYSTEM INTERFACE ${GRPCPP_STATIC_INCLUDE_DIRS})
set(skyray_grpc_archives "")
foreach(name ${GRPCPP_STATIC_LIBRARIES} protobuf)
  if(name MATCHES "^(pthread|dl|m|rt|atomic|systemd|c|-.*)$")
    continue()
  endif()
  find_library(skyray_archive_${name} NAMES lib${name}.a)
  if(skyray_archive_${name})
    list(APPEND skyray_grpc_archives ${skyray_archive_${name}})
  endif()
endforeach()
list(REMOVE_DUPLICATES skyray_grpc_archives)
target_link_libraries(skyray_grpc INTERFACE
  -Wl,--start-group ${skyray_grpc_archives} -Wl,--end-group Threads::Threads dl m rt)

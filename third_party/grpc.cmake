# gRPC and protobuf for the daemons (never for the extension): the static
# archives of libgrpc++-dev and libprotobuf-dev, the flavour without TLS.
# Debian's .pc files leave out half of the archives, so they are named here.
find_program(PROTOC protoc REQUIRED)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
find_path(GRPCPP_INCLUDE grpcpp/grpcpp.h REQUIRED)

set(grpc_archives "")
foreach(name grpc++_unsecure grpc_unsecure gpr upb address_sorting protobuf cares re2 z)
  find_library(${name}_ARCHIVE NAMES lib${name}.a REQUIRED)
  mark_as_advanced(${name}_ARCHIVE)
  list(APPEND grpc_archives ${${name}_ARCHIVE})
endforeach()
get_filename_component(archive_dir ${gpr_ARCHIVE} DIRECTORY)
file(GLOB absl_archives ${archive_dir}/libabsl_*.a)
list(FILTER absl_archives EXCLUDE REGEX "absl_flags|absl_failure|absl_leak|absl_periodic")

add_library(skyray_grpc INTERFACE)
target_include_directories(skyray_grpc SYSTEM INTERFACE ${GRPCPP_INCLUDE})
target_link_libraries(skyray_grpc INTERFACE
  -Wl,--start-group ${grpc_archives} ${absl_archives} -Wl,--end-group Threads::Threads)

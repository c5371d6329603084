# xxHash: checksums of spilled objects. Headers only: all of it is inlined, as
# each file that includes it is compiled for another instruction set.
find_path(XXHASH_INCLUDE xxhash.h REQUIRED)
add_library(skyray_xxhash INTERFACE)
target_include_directories(skyray_xxhash SYSTEM INTERFACE ${XXHASH_INCLUDE})
target_compile_definitions(skyray_xxhash INTERFACE XXH_INLINE_ALL)

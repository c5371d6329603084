# libcrypto: HMAC-SHA256 for the challenge-response between nodes.
find_path(OPENSSL_INCLUDE openssl/hmac.h REQUIRED)
find_library(CRYPTO_ARCHIVE NAMES libcrypto.a REQUIRED)
add_library(skyray_crypto INTERFACE)
target_include_directories(skyray_crypto SYSTEM INTERFACE ${OPENSSL_INCLUDE})
target_link_libraries(skyray_crypto INTERFACE ${CRYPTO_ARCHIVE} Threads::Threads dl)

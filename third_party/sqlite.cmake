# SQLite: the GCS's durable tables.
find_path(SQLITE3_INCLUDE sqlite3.h REQUIRED)
find_library(SQLITE3_ARCHIVE NAMES libsqlite3.a REQUIRED)
add_library(skyray_sqlite INTERFACE)
target_include_directories(skyray_sqlite SYSTEM INTERFACE ${SQLITE3_INCLUDE})
target_link_libraries(skyray_sqlite INTERFACE ${SQLITE3_ARCHIVE} Threads::Threads dl m)

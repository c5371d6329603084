# POSIX threads, part of libc since glibc 2.34.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

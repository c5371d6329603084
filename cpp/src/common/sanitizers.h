// SPDX-License-Identifier: Apache-2.0
// SKYRAY_ASAN and SKYRAY_TSAN: 1 in a build with AddressSanitizer or ThreadSanitizer, else 0.
// (g++ defines a macro for each, clang++ 14 answers __has_feature.)
//
// Threading: any. Ownership: values. Errors: none.
#pragma once

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define SKYRAY_ASAN 1
#else
#define SKYRAY_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define SKYRAY_TSAN 1
#else
#define SKYRAY_TSAN 0
#endif

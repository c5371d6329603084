// SPDX-License-Identifier: Apache-2.0
// No signal comes in this scope, nor ever to the threads that are started in it: they are
// born with all blocked, and the thread that started them goes on as before. What a thread
// raises by its own instructions is not blocked: it could not be handled then.
//
//   const SignalsBlocked blocked;
//   thread_ = std::thread(...);
//
// Threading:  for the thread that made it. Ownership: values. Errors: none.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <initializer_list>

namespace skyray {

class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    for (const int own : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigdelset(&all, own);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace skyray

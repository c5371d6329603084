// SPDX-License-Identifier: Apache-2.0
// How a call says that it failed: a code shared with the wire and Python, and
// one sentence for a human.
//
// Threading: values. Ownership: values. Errors: this is them.
#pragma once

#include <boost/system/result.hpp>
#include <string>
#include <utility>

#include "fbs/error_generated.h"

namespace skyray {

using fb::ErrorCode;

// Success, or an ErrorCode plus one sentence for a human.
class [[nodiscard]] Status {
 public:
  Status() = default;  // OK.
  Status(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == ErrorCode::Ok; }
  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  // "ObjectNotFound: no object 1234 in the store".
  std::string ToString() const;

 private:
  ErrorCode code_ = ErrorCode::Ok;
  std::string message_;
};

// Lets boost::system::result carry a Status; value() on a failure aborts.
[[noreturn]] void throw_exception_from_error(const Status& status, const boost::source_location&);

// A T, or the Status (never OK) that says why there is none.
template <class T>
class [[nodiscard]] Result : public boost::system::result<T, Status> {
 public:
  using boost::system::result<T, Status>::result;
};

// IoError with the operation, its object, and errno in words.
Status ErrnoStatus(const std::string& operation, int error_number);

}  // namespace skyray

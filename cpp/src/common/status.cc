// SPDX-License-Identifier: Apache-2.0
#include "common/status.h"

#include <system_error>

#include "common/logging.h"

namespace skyray {

std::string Status::ToString() const {
  if (ok()) return "Ok";
  return std::string(fb::EnumNameErrorCode(code_)) + ": " + message_;
}

void throw_exception_from_error(const Status& status, const boost::source_location& where) {
  Die(where.file_name(), static_cast<int>(where.line()),
      "value() of a failed Result: " + status.ToString());
}

Status ErrnoStatus(const std::string& operation, int error_number) {
  return Status(ErrorCode::IoError, operation + ": " +
                                        std::generic_category().message(error_number) + " (errno " +
                                        std::to_string(error_number) + ")");
}

}  // namespace skyray

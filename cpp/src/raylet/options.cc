// SPDX-License-Identifier: Apache-2.0
#include "raylet/options.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <functional>

#include "raylet/resource_ledger.h"

namespace skyray::raylet {
namespace {

Status BadValue(const std::string& flag, const std::string& value, const std::string& want) {
  return Status(ErrorCode::InvalidArgument,
                "raylet: " + flag + " " + value + ": " + want + " is expected");
}

template <class Number>
bool ParseNumber(const std::string& text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

std::vector<std::string> SplitByComma(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Status SetResource(Options& options, const std::string& value) {
  const size_t equals = value.rfind('=');
  double amount = -1;
  if (equals == 0 || equals == std::string::npos ||
      !ParseNumber(value.substr(equals + 1), amount)) {
    return BadValue("--resource", value, "NAME=AMOUNT");
  }
  const auto exact = ResourceAmountFromDouble(amount);
  if (!exact) return BadValue("--resource", value, "an amount of at least 0");
  options.resources.Set(value.substr(0, equals), *exact);
  return Status();
}

// Sets what concerns a full store; false if `flag` does not.
Result<bool> SetStoreFlag(Options& options, const std::string& flag, const std::string& value) {
  const std::map<std::string, uint64_t*> sizes = {
      {"--spill-file-bytes", &options.spill_file_bytes},
      {"--spill-file-bytes-max", &options.spill_file_bytes_max},
  };
  const std::map<std::string, int64_t*> times = {
      {"--create-grace-ms", &options.create_grace_ms},
      {"--store-full-delay-ms", &options.store_full_delay_ms},
  };
  if (const auto it = sizes.find(flag); it != sizes.end()) {
    if (!ParseNumber(value, *it->second)) return BadValue(flag, value, "a number of bytes");
  } else if (const auto time = times.find(flag); time != times.end()) {
    if (!ParseNumber(value, *time->second) || *time->second < 0) {
      return BadValue(flag, value, "a number of milliseconds");
    }
  } else if (flag == "--object-store-memory") {
    if (!ParseNumber(value, options.object_store_bytes) || options.object_store_bytes == 0) {
      return BadValue(flag, value, "a number of bytes");
    }
  } else if (flag == "--fallback-directory") {
    options.fallback_directory = value;
  } else if (flag == "--spill-directory") {
    options.spill_directories.push_back(value);
  } else if (flag == "--spill-url") {
    options.spill_urls.push_back(value);
  } else if (flag == "--spill-file-objects") {
    if (!ParseNumber(value, options.spill_file_objects) || options.spill_file_objects == 0) {
      return BadValue(flag, value, "a number of objects");
    }
  } else if (flag == "--spill-threshold") {
    if (!ParseNumber(value, options.spill_threshold) || !(options.spill_threshold >= 0)) {
      return BadValue(flag, value, "a share of the store's memory");
    }
  } else {
    return false;
  }
  return true;
}

// Sets what concerns memory that runs short; false if `flag` does not.
Result<bool> SetMemoryFlag(Options& options, const std::string& flag, const std::string& value) {
  if (flag == "--memory-threshold") {
    if (!ParseNumber(value, options.memory_threshold) || !(options.memory_threshold >= 0)) {
      return BadValue(flag, value, "a share of the memory");
    }
  } else if (flag == "--memory-refresh-ms") {
    if (!ParseNumber(value, options.memory_refresh_ms) || options.memory_refresh_ms < 0) {
      return BadValue(flag, value, "a number of milliseconds");
    }
  } else if (flag == "--memory-limit") {
    if (!ParseNumber(value, options.memory_limit_bytes)) {
      return BadValue(flag, value, "a number of bytes");
    }
  } else if (flag == "--memory-root") {
    options.memory_root = value;
  } else {
    return false;
  }
  return true;
}

Status SetFlag(Options& options, const std::string& flag, const std::string& value) {
  const std::map<std::string, std::string*> texts = {
      {"--session-dir", &options.session_dir}, {"--gcs-socket", &options.gcs_socket},
      {"--node-ip", &options.node_ip},         {"--data-host", &options.data_host},
      {"--node-name", &options.node_name},     {"--python", &options.python},
      {"--log-level", &options.log_level},
  };
  if (const auto it = texts.find(flag); it != texts.end()) {
    *it->second = value;
  } else if (flag == "--node-id") {
    const auto id = NodeId::FromHex(value);
    if (!id) return BadValue(flag, value, "56 hexadecimal digits");
    options.node_id = *id;
  } else if (flag == "--owner-pid") {
    if (!ParseNumber(value, options.owner_pid)) return BadValue(flag, value, "a process id");
  } else if (flag == "--ready-fd") {
    if (!ParseNumber(value, options.ready_fd)) return BadValue(flag, value, "a descriptor");
  } else if (flag == "--resource") {
    return SetResource(options, value);
  } else if (flag == "--label") {
    const size_t equals = value.find('=');
    if (equals == std::string::npos) return BadValue(flag, value, "KEY=VALUE");
    options.labels[value.substr(0, equals)] = value.substr(equals + 1);
  } else if (flag == "--gpu-ids") {
    options.gpu_ids = SplitByComma(value);
  } else {
    for (const auto set : {SetStoreFlag, SetMemoryFlag}) {
      const auto known = set(options, flag, value);
      if (!known) return known.error();
      if (*known) return Status();
    }
    return Status(
        ErrorCode::InvalidArgument,
        "raylet: unknown option " + flag + "; docs/design/001-processes.md lists what there is");
  }
  return Status();
}

}  // namespace

size_t Options::cpus() const {
  const ResourceAmount amount = resources.Get(kCpu);
  return static_cast<size_t>(std::max<ResourceAmount>(1, amount / kResourceUnit));
}

Result<Options> ParseOptions(int argc, const char* const* argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string flag = argv[i];
    if (flag == "--head") {
      options.is_head = true;
      continue;
    }
    if (flag == "--no-spilling") {
      options.spilling = false;
      continue;
    }
    std::string value;
    if (const size_t equals = flag.find('='); equals != std::string::npos) {
      value = flag.substr(equals + 1);
      flag.resize(equals);
    } else if (i + 1 < argc) {
      value = argv[++i];
    } else {
      return Status(ErrorCode::InvalidArgument, "raylet: " + flag + " is without a value");
    }
    if (Status status = SetFlag(options, flag, value); !status.ok()) return status;
  }
  if (options.session_dir.empty() || options.gcs_socket.empty() || options.node_id.IsNil()) {
    return Status(ErrorCode::InvalidArgument,
                  "raylet: --session-dir, --gcs-socket and --node-id are required; "
                  "skyray.init() and `skyray start` pass them");
  }
  if (options.spill_directories.empty() && options.spill_urls.empty()) {
    options.spill_directories.push_back(options.session_dir);
  }
  return options;
}

}  // namespace skyray::raylet

// SPDX-License-Identifier: Apache-2.0
// The raylet's command line (docs/design/001-processes.md).
//
// Threading: functions. Ownership: values. Errors: InvalidArgument naming the flag.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/id.h"
#include "common/resource_set.h"
#include "common/status.h"

namespace skyray::raylet {

struct Options {
  std::string session_dir;
  std::string gcs_socket;
  NodeId node_id;
  int owner_pid = 0;  // 0: nobody in particular.
  int ready_fd = -1;
  bool is_head = false;
  ResourceSet resources;
  std::map<std::string, std::string> labels;
  std::vector<std::string> gpu_ids;
  uint64_t object_store_bytes = 256u << 20;
  std::string node_ip = "127.0.0.1";
  std::string data_host;  // Empty: no TCP port.
  std::string node_name;
  std::string python = "python3";
  std::string log_level = "info";

  // The directory of this node's sockets.
  std::string socket_dir() const { return session_dir + "/n-" + node_id.Hex().substr(0, 8); }
  std::string raylet_socket() const { return socket_dir() + "/raylet.sock"; }
  std::string store_socket() const { return socket_dir() + "/store.sock"; }
  // Whole CPUs, at least 1.
  size_t cpus() const;
};

Result<Options> ParseOptions(int argc, const char* const* argv);

}  // namespace skyray::raylet

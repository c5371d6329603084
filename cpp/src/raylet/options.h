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

  // Where objects go that the store has no room for; both empty: the session directory.
  bool spilling = true;
  std::vector<std::string> spill_directories;
  std::vector<std::string> spill_urls;
  double spill_threshold = 0.8;
  uint64_t spill_file_bytes = 100u << 20;
  uint64_t spill_file_bytes_max = 0;
  uint32_t spill_file_objects = 2000;
  std::string fallback_directory;  // Empty: none.
  int64_t create_grace_ms = 2000;
  int64_t store_full_delay_ms = 10;

  // When a worker is ended to save the others (raylet/memory_monitor.h).
  double memory_threshold = 0.95;
  int64_t memory_refresh_ms = 250;  // 0: never.
  uint64_t memory_limit_bytes = 0;  // Of all workers together; 0: none.
  std::string memory_root;          // In front of /proc and /sys; for tests.

  // The directory of this node's sockets.
  std::string socket_dir() const { return session_dir + "/n-" + node_id.Hex().substr(0, 8); }
  std::string raylet_socket() const { return socket_dir() + "/raylet.sock"; }
  std::string store_socket() const { return socket_dir() + "/store.sock"; }
  // The folder of this node's spill files, in each directory.
  std::string spill_folder() const { return "skyray_spilled_" + node_id.Hex().substr(0, 16); }
  // Whole CPUs, at least 1.
  size_t cpus() const;
};

Result<Options> ParseOptions(int argc, const char* const* argv);

}  // namespace skyray::raylet

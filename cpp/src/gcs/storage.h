// SPDX-License-Identifier: Apache-2.0
// Where the GCS keeps what must outlive it: tables of keys and values.
//
//   Put, Delete ─► collected ─Commit─► durable, all of it or nothing
//
// Threading:  used on the GCS's loop; Commit may block for a disk write.
// Ownership:  owns its file.
// Errors:     Load and Commit return them. After a failed Commit what was
//             collected is lost, and the process should end: its memory and its
//             store no longer agree.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace skyray::gcs {

// The numbers are stored: append only.
enum class Table { Meta, Nodes, Jobs, ActorSpecs, Actors, Kv };

class Storage {
 public:
  using Visitor = std::function<void(std::string_view key, std::string_view value)>;

  virtual ~Storage() = default;
  virtual void Put(Table table, std::string key, std::string value) = 0;
  virtual void Delete(Table table, std::string key) = 0;
  virtual Status Commit() = 0;
  // Shows every committed entry of the table, in the order of the keys.
  virtual Status Load(Table table, const Visitor& visit) = 0;
};

// Keeps what lives as long as the process; what the tables hold anyway is not
// kept a second time.
class MemoryStorage final : public Storage {
 public:
  void Put(Table, std::string, std::string) override {}
  void Delete(Table, std::string) override {}
  Status Commit() override { return Status(); }
  Status Load(Table, const Visitor&) override { return Status(); }
};

// "memory" or "sqlite:PATH".
// Errors: InvalidArgument; what SqliteStorage::Open returns.
Result<std::unique_ptr<Storage>> OpenStorage(const std::string& description);

}  // namespace skyray::gcs

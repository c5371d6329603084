// SPDX-License-Identifier: Apache-2.0
// Where the GCS keeps what must outlive it: tables of keys and values.
//
//   Put, Delete ─► collected ─TakeWrites─► a batch ─Commit─► durable, all or nothing
//
// Threading:  used on the GCS's loop, except Commit: it may block for a disk
//             write, so it is called on one other thread, one batch at a time.
// Ownership:  owns its file.
// Errors:     Load and Commit return them. After a failed Commit the process
//             should end: its memory and its store no longer agree.
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

  struct Write {
    Table table;
    std::string key;
    std::string value;
    bool remove;
  };

  virtual ~Storage() = default;
  virtual void Put(Table table, std::string key, std::string value) = 0;
  virtual void Delete(Table table, std::string key) = 0;
  // What was collected since the last call, in order.
  virtual std::vector<Write> TakeWrites() = 0;
  virtual Status Commit(const std::vector<Write>& writes) = 0;
  // Shows every committed entry of the table, in the order of the keys.
  // REQUIRES: no Commit is under way.
  virtual Status Load(Table table, const Visitor& visit) = 0;
};

// Keeps what lives as long as the process; what the tables hold anyway is not
// kept a second time.
class MemoryStorage final : public Storage {
 public:
  void Put(Table, std::string, std::string) override {}
  void Delete(Table, std::string) override {}
  std::vector<Write> TakeWrites() override { return {}; }
  Status Commit(const std::vector<Write>&) override { return Status(); }
  Status Load(Table, const Visitor&) override { return Status(); }
};

// "memory" or "sqlite:PATH".
// Errors: InvalidArgument; what SqliteStorage::Open returns.
Result<std::unique_ptr<Storage>> OpenStorage(const std::string& description);

}  // namespace skyray::gcs

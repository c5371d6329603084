// SPDX-License-Identifier: Apache-2.0
// Storage in one SQLite file, written ahead (WAL) and synced with every Commit.
//
// Threading:  as Storage. Ownership: owns the file; a second process that opens it
//             is refused.
// Errors:     Open: IoError when the file cannot be had, is damaged, is in use, or
//             comes from another version; the sentence says which, and what to do.
#pragma once

#include <utility>

#include "gcs/storage.h"

struct sqlite3;
struct sqlite3_stmt;

namespace skyray::gcs {

class SqliteStorage final : public Storage {
 public:
  static Result<std::unique_ptr<Storage>> Open(const std::string& path);
  ~SqliteStorage() override;

  void Put(Table table, std::string key, std::string value) override;
  void Delete(Table table, std::string key) override;
  std::vector<Write> TakeWrites() override { return std::exchange(writes_, {}); }
  Status Commit(const std::vector<Write>& writes) override;
  Status Load(Table table, const Visitor& visit) override;

 private:
  explicit SqliteStorage(std::string path) : path_(std::move(path)) {}
  Status Initialise();
  Status Execute(const char* sql);
  Result<std::string> QueryText(const char* sql);
  Status Apply(const Write& write);
  Status Error(const std::string& what) const;

  std::string path_;
  sqlite3* database_ = nullptr;
  sqlite3_stmt* put_ = nullptr;
  sqlite3_stmt* delete_ = nullptr;
  sqlite3_stmt* load_ = nullptr;
  std::vector<Write> writes_;
};

}  // namespace skyray::gcs

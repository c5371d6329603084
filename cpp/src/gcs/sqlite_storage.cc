// SPDX-License-Identifier: Apache-2.0
#include "gcs/sqlite_storage.h"

#include <sqlite3.h>
#include <sys/stat.h>

namespace skyray::gcs {
namespace {

// Grows when the meaning of what is stored changes.
constexpr int kSchemaVersion = 1;
constexpr char kSchema[] =
    "CREATE TABLE entries (tab INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,"
    " PRIMARY KEY (tab, key)) WITHOUT ROWID";

void BindBlob(sqlite3_stmt* statement, int index, const std::string& bytes) {
  // A null pointer would bind NULL, which an empty string is not.
  sqlite3_bind_blob64(statement, index, bytes.empty() ? "" : bytes.data(), bytes.size(),
                      SQLITE_STATIC);
}

std::string_view ColumnBlob(sqlite3_stmt* statement, int column) {
  const void* bytes = sqlite3_column_blob(statement, column);
  if (bytes == nullptr) return {};
  return {static_cast<const char*>(bytes),
          static_cast<size_t>(sqlite3_column_bytes(statement, column))};
}

}  // namespace

Result<std::unique_ptr<Storage>> SqliteStorage::Open(const std::string& path) {
  std::unique_ptr<SqliteStorage> storage(new SqliteStorage(path));
  if (Status status = storage->Initialise(); !status.ok()) return status;
  return std::unique_ptr<Storage>(std::move(storage));
}

SqliteStorage::~SqliteStorage() {
  for (sqlite3_stmt* statement : {put_, delete_, load_}) sqlite3_finalize(statement);
  sqlite3_close(database_);
}

Status SqliteStorage::Initialise() {
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path_.c_str(), &database_, flags, nullptr) != SQLITE_OK) {
    return Error("cannot open");
  }
  sqlite3_extended_result_codes(database_, 1);
  // Exclusive: this process is the only one, so no shared-memory file is needed,
  // and a second gcs_server on the same file is refused.
  for (const char* sql : {"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL",
                          "PRAGMA synchronous = FULL", "BEGIN IMMEDIATE"}) {
    if (Status status = Execute(sql); !status.ok()) return status;
  }
  chmod(path_.c_str(), S_IRUSR | S_IWUSR);
  auto version = QueryText("PRAGMA user_version");
  if (!version) return version.error();
  if (*version == "0") {
    const std::string mark = "PRAGMA user_version = " + std::to_string(kSchemaVersion);
    for (const char* sql : {kSchema, mark.c_str()}) {
      if (Status status = Execute(sql); !status.ok()) return status;
    }
  } else if (*version != std::to_string(kSchemaVersion)) {
    return Status(ErrorCode::IoError,
                  "the GCS's store " + path_ + " has format " + *version +
                      ", this version of skyray reads format " + std::to_string(kSchemaVersion) +
                      "; start with the version that wrote it, or with another file");
  }
  if (Status status = Execute("COMMIT"); !status.ok()) return status;
  auto check = QueryText("PRAGMA quick_check(1)");
  if (!check) return check.error();
  if (*check != "ok") {
    return Status(ErrorCode::IoError, "the GCS's store " + path_ + " is damaged (" + *check +
                                          "); restore it from a copy, or move it away to start " +
                                          "with an empty one");
  }
  const auto prepare = [this](const char* sql, sqlite3_stmt** statement) {
    return sqlite3_prepare_v2(database_, sql, -1, statement, nullptr) == SQLITE_OK;
  };
  if (!prepare("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", &put_) ||
      !prepare("DELETE FROM entries WHERE tab = ? AND key = ?", &delete_) ||
      !prepare("SELECT key, value FROM entries WHERE tab = ? ORDER BY key", &load_)) {
    return Error("cannot use");
  }
  return Status();
}

Status SqliteStorage::Execute(const char* sql) {
  if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return Status();
  return Error(std::string("cannot run '") + sql + "' on");
}

Result<std::string> SqliteStorage::QueryText(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  std::string text;
  int code = sqlite3_prepare_v2(database_, sql, -1, &statement, nullptr);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  if (code == SQLITE_ROW) text = ColumnBlob(statement, 0);
  sqlite3_finalize(statement);
  if (code != SQLITE_ROW) return Error(std::string("cannot run '") + sql + "' on");
  return text;
}

Status SqliteStorage::Error(const std::string& what) const {
  const int code = sqlite3_errcode(database_) & 0xff;
  const char* advice = "; see that the folder exists and is writable";
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) {
    advice = "; the file is damaged: restore it from a copy, or move it away to start empty";
  } else if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
    advice = "; another gcs_server is using it: stop that one first";
  } else if (code == SQLITE_FULL) {
    advice = "; the disk is full: free some space and start again";
  }
  return Status(code == SQLITE_FULL ? ErrorCode::OutOfDisk : ErrorCode::IoError,
                what + " the GCS's store " + path_ + ": " + sqlite3_errmsg(database_) + advice);
}

void SqliteStorage::Put(Table table, std::string key, std::string value) {
  writes_.push_back({table, std::move(key), std::move(value), false});
}

void SqliteStorage::Delete(Table table, std::string key) {
  writes_.push_back({table, std::move(key), "", true});
}

Status SqliteStorage::Commit(const std::vector<Write>& writes) {
  Status status = Execute("BEGIN");
  for (const Write& write : writes) {
    if (status.ok()) status = Apply(write);
  }
  if (status.ok()) status = Execute("COMMIT");
  if (!status.ok() && sqlite3_get_autocommit(database_) == 0) {
    sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  return status;
}

Status SqliteStorage::Apply(const Write& write) {
  sqlite3_stmt* statement = write.remove ? delete_ : put_;
  sqlite3_bind_int(statement, 1, static_cast<int>(write.table));
  BindBlob(statement, 2, write.key);
  if (!write.remove) BindBlob(statement, 3, write.value);
  const int code = sqlite3_step(statement);
  Status status = code == SQLITE_DONE ? Status() : Error("cannot write to");
  sqlite3_reset(statement);
  return status;
}

Status SqliteStorage::Load(Table table, const Visitor& visit) {
  sqlite3_bind_int(load_, 1, static_cast<int>(table));
  int code;
  while ((code = sqlite3_step(load_)) == SQLITE_ROW) {
    visit(ColumnBlob(load_, 0), ColumnBlob(load_, 1));
  }
  Status status = code == SQLITE_DONE ? Status() : Error("cannot read");
  sqlite3_reset(load_);
  return status;
}

Result<std::unique_ptr<Storage>> OpenStorage(const std::string& description) {
  if (description == "memory") return std::unique_ptr<Storage>(std::make_unique<MemoryStorage>());
  constexpr std::string_view kSqlite = "sqlite:";
  if (description.starts_with(kSqlite) && description.size() > kSqlite.size()) {
    return SqliteStorage::Open(description.substr(kSqlite.size()));
  }
  return Status(ErrorCode::InvalidArgument,
                "unknown storage '" + description + "'; give 'memory' or 'sqlite:PATH'");
}

}  // namespace skyray::gcs

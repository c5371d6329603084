// SPDX-License-Identifier: Apache-2.0
// A store, some clients and a clock, driven by bytes: what a fuzzer makes up is
// read as a list of records, each one thing that a client, the process around
// the store, or time does. Between them, and at the end, what must always hold
// is looked at; if it does not, the process says so and stops.
//
// Threading:  one thread. Ownership: a run owns all it makes.
// Errors:     Fail() ends the process. The same bytes do the same thing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace skyray::fuzz {

enum class Op : uint8_t {
  Connect,
  Disconnect,
  Read,     // The client reads what it was sent.
  Advance,  // Time goes on by `a`.
  Create,
  CreateRetry,
  Seal,
  Abort,
  Get,
  Release,
  Delete,
  Contains,
  GetDebugState,
  GetStats,
  List,
  Evict,
  Reply,    // A client says what only the store may say.
  Raw,      // The next `a` bytes of the script, as they are.
  Corrupt,  // The client's next message is damaged: at `a`, by `b`.
  Cut,      // Of the client's next message only `a` bytes come, the rest with its next.
  LocalCreate,
  LocalSeal,
  LocalAbort,
  LocalGet,
  LocalRelease,
  LocalDelete,
  OwnerDied,
  TakeSpillable,  // What is under way to the disk, and how that ended.
  Spilled,
  SpillFailed,
  Restore,
  Restored,
  Lose,
  kCount
};

// Sixteen bytes of a script. Numbers that choose one of a few are taken modulo.
struct Record {
  Op op = Op::Connect;
  uint8_t client = 0;
  uint8_t id = 0;
  uint8_t flags = 0;
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t c = 0;
};
static_assert(sizeof(Record) == 16);

// Of `flags`, for messages that have such a field.
constexpr uint8_t kPrimary = 1;
constexpr uint8_t kTryImmediately = 2;
constexpr uint8_t kKeepReference = 2;
constexpr uint8_t kMetadata = 4;
constexpr uint8_t kOldRequestId = 8;  // A request id that was used before.
constexpr int kOwnerShift = 6;

// The first record chooses the store's options, the others are done in turn.
void RunScript(std::span<const uint8_t> script);

[[noreturn]] void Fail(const std::string& what);

}  // namespace skyray::fuzz

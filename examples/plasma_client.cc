// SPDX-License-Identifier: Apache-2.0
// An object into a plasma store and out of it again, in C++:
//
//   plasma_store -m 64M -s /tmp/store.sock &
//   plasma_client_example /tmp/store.sock
#include <cstdio>
#include <cstring>
#include <string_view>

#include "plasma/client.h"

using skyray::ObjectId;
using skyray::Status;
using skyray::plasma::Client;
using skyray::plasma::CreateOptions;

static Status Run(const char* socket) {
  auto connected = Client::Connect(socket);
  if (!connected) return connected.error();
  Client& client = **connected;

  constexpr std::string_view kText = "hello";
  const ObjectId id = ObjectId::FromRandom();
  CreateOptions options;
  options.data_bytes = kText.size();
  auto object = client.Create(id, options);
  if (!object) return object.error();
  std::memcpy(object->data, kText.data(), kText.size());  // Shared memory.
  if (Status status = client.Seal(id); !status.ok()) return status;

  const ObjectId ids[] = {id};
  auto found = client.Get(ids, /*timeout_ms=*/1000);
  if (!found) return found.error();
  const auto& view = found->front();
  if (!view) return view.error();
  std::printf("%.*s, %zu bytes\n", static_cast<int>(view->data_bytes),
              reinterpret_cast<const char*>(view->data), static_cast<size_t>(view->data_bytes));

  // One Release for each time it was got; then nobody needs it.
  if (Status status = client.Release(id); !status.ok()) return status;
  return client.Delete(ids);
}

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: plasma_client_example SOCKET\n");
    return 2;
  }
  const Status status = Run(argv[1]);
  if (status.ok()) return 0;
  std::fprintf(stderr, "plasma_client_example: %s\n", status.message().c_str());
  return 1;
}

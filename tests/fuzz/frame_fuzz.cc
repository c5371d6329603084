// SPDX-License-Identifier: Apache-2.0
// Fuzz target: bytes as they come on a socket of the store, whatever they are.
// The first byte says whether the peer introduces itself properly, the second
// how the rest is cut on its way. What comes out as a frame also meets the
// verifiers of the other channels.
#include <algorithm>
#include <vector>

#include "common/logging.h"
#include "fake_ipc.h"
#include "fbs/peer_generated.h"
#include "fbs/raylet_generated.h"
#include "fbs/transfer_generated.h"
#include "fbs/worker_generated.h"
#include "ipc/frame_input.h"
#include "ipc/verify.h"
#include "plasma/store_server.h"
#include "plasma/wire.h"
#include "store_audit.h"
#include "store_peer.h"
#include "store_script.h"

namespace skyray::fuzz {
namespace {

using Bytes = std::span<const uint8_t>;

void Verify(Bytes stream) {
  ipc::FrameInput input;
  input.Append(stream);
  for (;;) {
    auto frame = input.Next();
    if (!frame || !*frame) return;
    (void)ipc::Verified<fb::peer::Message>(**frame);
    (void)ipc::Verified<fb::raylet::Message>(**frame);
    (void)ipc::Verified<fb::transfer::Message>(**frame);
    (void)ipc::Verified<fb::worker::Message>(**frame);
  }
}

void Store(Bytes stream, bool introduced, size_t piece_bytes) {
  static boost::asio::io_context loop{1};
  SetClockMs(1000000);
  plasma::StoreOptions options;
  options.capacity_bytes = 1 << 20;
  options.socket_path = "nowhere";
  auto store = plasma::StoreServer::Start(loop, options, nullptr);
  if (!store) Fail("no store: " + store.error().message());
  Peer peer;
  if (introduced) {
    peer.Join(plasma::kProtocolVersion);
  } else {
    peer.JoinInSilence();
  }
  for (size_t at = 0; at < stream.size(); at += piece_bytes) {
    peer.SayBytes(stream.subspan(at, std::min(piece_bytes, stream.size() - at)));
    if (at % 7 == 0) peer.Read();
  }
  Audit(**store);
  peer.Leave();
  AuditIdle(**store);
  store->reset();
  loop.restart();
  loop.poll();
}

}  // namespace
}  // namespace skyray::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  skyray::ConfigureLogging("frame_fuzz", skyray::LogLevel::Error);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const skyray::fuzz::Bytes stream(data + 2, size - 2);
  skyray::fuzz::Verify(stream);
  skyray::fuzz::Store(stream, data[0] % 4 != 0, data[1] == 0 ? size : data[1]);
  return 0;
}

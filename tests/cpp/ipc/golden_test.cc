// SPDX-License-Identifier: Apache-2.0
// The golden messages (tests/golden/wire.py) pass the verifier, and what is left
// of one after damage is refused or at least harmless.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "fbs/peer_generated.h"
#include "fbs/plasma_generated.h"
#include "fbs/raylet_generated.h"
#include "fbs/task_event_generated.h"
#include "fbs/transfer_generated.h"
#include "fbs/worker_generated.h"
#include "ipc/verify.h"

namespace skyray::ipc {
namespace {

template <class Message>
bool Verifies(const Frame& frame) {
  return Verified<Message>(frame) != nullptr;
}

using Verify = bool (*)(const Frame&);
const std::map<std::string, Verify> kChannels = {
    {"plasma", Verifies<fb::plasma::Message>},     {"peer", Verifies<fb::peer::Message>},
    {"transfer", Verifies<fb::transfer::Message>}, {"raylet", Verifies<fb::raylet::Message>},
    {"worker", Verifies<fb::worker::Message>},     {"task_event", Verifies<fb::task_event::Batch>},
};

struct Golden {
  std::string name;
  Verify verify;
  Frame frame;
};

std::vector<Golden> GoldenMessages() {
  std::vector<Golden> messages;
  const std::filesystem::path folder = SKYRAY_GOLDEN_DIR "/messages";
  if (!std::filesystem::exists(folder)) return messages;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".bin") continue;
    const std::string channel = entry.path().parent_path().filename();
    Golden golden;
    golden.name = channel + "/" + entry.path().stem().string();
    golden.verify = kChannels.at(channel);
    std::ifstream file(entry.path(), std::ios::binary);
    golden.frame.body.assign(std::istreambuf_iterator<char>(file), {});
    messages.push_back(std::move(golden));
  }
  return messages;
}

TEST(GoldenTest, EveryGoldenMessagePassesTheVerifier) {
  for (const Golden& golden : GoldenMessages()) {
    EXPECT_TRUE(golden.verify(golden.frame)) << golden.name;
  }
}

TEST(GoldenTest, EveryChannelHasGoldenMessages) {
  std::map<std::string, int> count;
  for (const Golden& golden : GoldenMessages())
    ++count[golden.name.substr(0, golden.name.find('/'))];
  for (const auto& [channel, verify] : kChannels) EXPECT_GT(count[channel], 0) << channel;
}

TEST(GoldenTest, AMessageCutShortIsRefused) {
  for (const Golden& golden : GoldenMessages()) {
    Frame cut;
    cut.body = golden.frame.body;
    cut.body.resize(cut.body.size() / 2);
    EXPECT_FALSE(golden.verify(cut)) << golden.name;
  }
}

// Under ASan and UBSan this is the test: the verifier itself stays in bounds.
TEST(GoldenTest, AnyDamagedByteIsHarmless) {
  for (const Golden& golden : GoldenMessages()) {
    Frame damaged;
    damaged.body = golden.frame.body;
    for (uint8_t& byte : damaged.body) {
      byte ^= 0xff;
      golden.verify(damaged);
      byte ^= 0xff;
    }
  }
}

TEST(GoldenTest, AFrameOfAnotherKindIsNoMessage) {
  for (const Golden& golden : GoldenMessages()) {
    Frame other;
    other.kind = kFlatBuffer + 1;
    other.body = golden.frame.body;
    EXPECT_FALSE(golden.verify(other)) << golden.name;
  }
}

}  // namespace
}  // namespace skyray::ipc

// SPDX-License-Identifier: Apache-2.0
#include "raylet/worker_progress.h"

#include <gtest/gtest.h>

namespace skyray::raylet {
namespace {

WorkerProgress OnABoard() { return WorkerProgress(*ProgressBoard::Create()); }

TEST(WorkerProgressTest, APlaceIsAWorkersUntilItsEnd) {
  WorkerProgress progress = OnABoard();
  const auto board = ProgressBoard::Map(progress.fd());
  ASSERT_TRUE(board.has_value());
  const WorkerId first = WorkerId::FromRandom();
  const WorkerId second = WorkerId::FromRandom();
  const int place = progress.Take(first);
  EXPECT_NE(progress.Take(second), place);
  board->At(static_cast<size_t>(place))->Start(4);
  EXPECT_EQ(progress.Finish(first), 5u);
  EXPECT_EQ(progress.Finish(first), std::nullopt) << "it is gone";
  EXPECT_EQ(progress.Finish(second), std::nullopt) << "it has not said anything";
  const WorkerId third = WorkerId::FromRandom();
  progress.Take(WorkerId::FromRandom());
  EXPECT_EQ(progress.Take(third), place) << "the one given back";
  EXPECT_EQ(progress.Finish(third), std::nullopt) << "what another wrote there is not its own";
}

TEST(WorkerProgressTest, ANewLeaseBeginsUnknown) {
  WorkerProgress progress = OnABoard();
  const auto board = ProgressBoard::Map(progress.fd());
  ASSERT_TRUE(board.has_value());
  const WorkerId worker = WorkerId::FromRandom();
  board->At(static_cast<size_t>(progress.Take(worker)))->Start(4);
  progress.Clear(worker);
  progress.Clear(WorkerId::FromRandom());
  EXPECT_EQ(progress.Finish(worker), std::nullopt);
}

TEST(WorkerProgressTest, BeyondItsPlacesAndWithoutABoardNothingIsKnown) {
  WorkerProgress progress = OnABoard();
  for (size_t i = 0; i < ProgressBoard::kPlaces; ++i) {
    EXPECT_EQ(progress.Take(WorkerId::FromRandom()), static_cast<int>(i));
  }
  const WorkerId worker = WorkerId::FromRandom();
  EXPECT_EQ(progress.Take(worker), -1);
  progress.Clear(worker);
  EXPECT_EQ(progress.Finish(worker), std::nullopt);

  WorkerProgress without(std::nullopt);
  EXPECT_EQ(without.fd(), -1);
  EXPECT_EQ(without.Take(worker), -1);
  EXPECT_EQ(without.Finish(worker), std::nullopt);
}

}  // namespace
}  // namespace skyray::raylet

// SPDX-License-Identifier: Apache-2.0
#include "common/progress_board.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace skyray {
namespace {

ProgressBoard NewBoard() {
  auto board = ProgressBoard::Create();
  EXPECT_TRUE(board.has_value()) << board.error().message();
  return std::move(*board);
}

TEST(ProgressBoardTest, NothingIsKnownBeforeALeaseIsBound) {
  const ProgressBoard board = NewBoard();
  Progress& place = *board.At(3);
  EXPECT_EQ(place.started(), std::nullopt);
  place.Bind();
  EXPECT_EQ(place.started(), 0u);
  place.Start(0);
  EXPECT_EQ(place.started(), 1u);
  place.Start(41);
  EXPECT_EQ(place.started(), 42u);
  place.Clear();
  EXPECT_EQ(place.started(), std::nullopt);
  EXPECT_EQ(board.At(2)->started(), std::nullopt);
}

TEST(ProgressBoardTest, AProcessThatIsGoneHasLeftItsMark) {
  const ProgressBoard board = NewBoard();
  const pid_t child = fork();
  if (child == 0) {
    const auto again = ProgressBoard::Map(board.fd());
    if (!again) _exit(1);
    again->At(ProgressBoard::kPlaces - 1)->Start(6);
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_EQ(board.At(ProgressBoard::kPlaces - 1)->started(), 7u);
}

TEST(ProgressBoardTest, WhatIsNoBoardIsRefused) {
  const ProgressBoard board = NewBoard();
  EXPECT_EQ(board.At(ProgressBoard::kPlaces), nullptr);
  EXPECT_EQ(ProgressBoard::Map(-1).error().code(), ErrorCode::IoError);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_EQ(ProgressBoard::Map(ends[0]).error().code(), ErrorCode::InvalidArgument);
  close(ends[0]);
  close(ends[1]);
}

TEST(ProgressBoardTest, MovingItMovesItsPlaces) {
  ProgressBoard board = NewBoard();
  board.At(0)->Start(1);
  ProgressBoard moved = std::move(board);
  EXPECT_EQ(moved.At(0)->started(), 2u);
  moved = NewBoard();
  EXPECT_EQ(moved.At(0)->started(), std::nullopt);
}

}  // namespace
}  // namespace skyray

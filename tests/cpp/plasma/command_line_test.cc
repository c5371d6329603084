// SPDX-License-Identifier: Apache-2.0
#include "plasma/command_line.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace skyray::plasma {
namespace {

using Wish = CommandLine::Wish;

Result<CommandLine> Parse(std::vector<std::string> words) {
  words.insert(words.begin(), "plasma_store");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return ParseCommandLine(static_cast<int>(words.size()), argv.data());
}

TEST(CommandLineTest, ShortAndLongOptionsAreUnderstood) {
  const auto line =
      Parse({"-m", "2G", "-s", "/tmp/s", "-d", "/dev/shm", "--fallback", "/spare", "--hugepages"});
  ASSERT_TRUE(line) << line.error().ToString();
  EXPECT_EQ(line->wish, Wish::Serve);
  EXPECT_EQ(line->options.capacity_bytes, uint64_t{2} << 30);
  EXPECT_EQ(line->options.socket_path, "/tmp/s");
  EXPECT_EQ(line->options.directory, "/dev/shm");
  EXPECT_EQ(line->options.fallback_directory, "/spare");
  EXPECT_TRUE(line->options.huge_pages);
  EXPECT_EQ(Parse({"--memory=64M", "--socket=/s", "--directory=/d"})->options.directory, "/d");
}

TEST(CommandLineTest, HelpAndVersionComeBeforeWhatIsMissing) {
  EXPECT_EQ(Parse({"--help"})->wish, Wish::Help);
  EXPECT_EQ(Parse({"-h"})->wish, Wish::Help);
  EXPECT_EQ(Parse({"-m", "1M", "--version"})->wish, Wish::Version);
}

TEST(CommandLineTest, WhatMakesNoSenseIsNamed) {
  const auto why = [](const std::vector<std::string>& words) {
    const auto line = Parse(words);
    EXPECT_FALSE(line);
    return line ? "" : line.error().message();
  };
  EXPECT_EQ(why({}), "the store's memory is missing: -m BYTES");
  EXPECT_EQ(why({"-m", "1M"}), "the store needs a socket path: -s SOCKET");
  EXPECT_EQ(why({"-m"}), "option '-m' needs a value");
  EXPECT_EQ(why({"--memory"}), "option '--memory' needs a value");
  EXPECT_EQ(why({"--fast"}), "unrecognized option '--fast'");
  EXPECT_EQ(why({"-x"}), "unrecognized option '-x'");
  EXPECT_EQ(why({"--hugepages=yes"}), "option takes no value: '--hugepages=yes'");
  EXPECT_EQ(why({"-m", "1M", "-s", "/s", "more"}), "unexpected argument 'more'");
  EXPECT_EQ(why({"-m", "much"}), "-m takes a number of bytes, like 512M, not 'much'");
  EXPECT_EQ(why({"-d", ""}), "-d takes a directory");
  EXPECT_EQ(why({"-m", "1", "-s", "/s"}),
            "the store's memory of 1 bytes is not in 1048576..70368744177664");
}

}  // namespace
}  // namespace skyray::plasma

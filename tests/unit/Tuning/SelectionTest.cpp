//===- SelectionTest.cpp - Choices, lookups and digests
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Tuning/Selection.h"
#include "TuningSupport.h"
#include <algorithm>
#include <gtest/gtest.h>
#include <random>

using namespace fresnel::rt;

namespace {

const DeviceClass kDevice{"Fake GPU", 90, 132};

Selection select(const std::vector<Record> &records) {
  Database database;
  for (const Record &record : records)
    database.insert(record);
  return Selection(database, kDevice);
}

std::string chosenFor(const std::vector<Record> &records, int64_t length = 1024) {
  Selection selection = select(records);
  auto found = selection.choices().find(parseProblem(makeProblemText(length))->key);
  return found == selection.choices().end() ? "none" : found->second.schedule;
}

bool acceptAll(const std::string &) { return true; }

} // namespace

TEST(SelectionTest, FastestWins) {
  EXPECT_EQ(chosenFor({makeTrial(1024, 64, 100), makeTrial(1024, 96, 80), makeTrial(1024, 128, 90)}),
            R"({"tile_n":96})");
}

TEST(SelectionTest, WithinNoiseTheLowestCanonicalOrderWins) {
  EXPECT_EQ(chosenFor({makeTrial(1024, 96, 80), makeTrial(1024, 128, 80.5)}), R"({"tile_n":128})");
  EXPECT_EQ(chosenFor({makeTrial(1024, 96, 80), makeTrial(1024, 128, 81)}), R"({"tile_n":96})");
  // A wide spread is noise too.
  Record wide = makeTrial(1024, 96, 80);
  wide.trial.us.p20 = 70;
  wide.trial.us.p80 = 90;
  EXPECT_EQ(chosenFor({wide, makeTrial(1024, 128, 83)}), R"({"tile_n":128})");
}

TEST(SelectionTest, WithinNoiseTheDefaultWins) {
  auto against = [](const char *baseline, Record record) {
    record.trial.baseline = baseline;
    return record;
  };
  const char *slow = R"({"tile_n":96})", *other = R"({"tile_n":64})";
  Record fast = makeTrial(1024, 128, 80), tie = makeTrial(1024, 96, 80.5), slower = makeTrial(1024, 96, 81);
  EXPECT_EQ(chosenFor({against(slow, fast), against(slow, tie)}), slow);
  EXPECT_EQ(chosenFor({against(slow, fast), against(slow, slower)}), R"({"tile_n":128})");
  // Two runs with other defaults: neither is the one.
  EXPECT_EQ(chosenFor({against(other, fast), against(slow, tie)}), R"({"tile_n":128})");
}

TEST(SelectionTest, FailedAndUnfinishedTrialsDoNotCompete) {
  Record wrong = makeTrial(1024, 192, 10);
  wrong.trial.status = TrialStatus::WrongResult;
  wrong.trial.reason = "relative L2 0.5";
  EXPECT_EQ(chosenFor({wrong, makeTrial(1024, 64, 100)}), R"({"tile_n":64})");
  EXPECT_EQ(chosenFor({wrong}), "none");
  // A lucky screening does not beat a final round.
  EXPECT_EQ(chosenFor({makeTrial(1024, 192, 50, TrialStage::Screen), makeTrial(1024, 64, 100)}), R"({"tile_n":64})");
  Record begin = makeTrial(1024, 192, 10);
  begin.kind = RecordKind::Begin;
  EXPECT_EQ(chosenFor({begin, makeTrial(1024, 64, 100)}), R"({"tile_n":64})");
}

TEST(SelectionTest, MoreSamplesReplaceFewer) {
  Record few = makeTrial(1024, 64, 50), many = makeTrial(1024, 64, 100);
  few.trial.us.count = 3;
  EXPECT_EQ(chosenFor({few, many, makeTrial(1024, 128, 80)}), R"({"tile_n":128})");
}

TEST(SelectionTest, OtherDevicesDoNotCount) {
  Record other = makeTrial(1024, 192, 10);
  other.trial.device.name = "Other GPU";
  EXPECT_EQ(chosenFor({other, makeTrial(1024, 64, 100)}), R"({"tile_n":64})");
  Database database;
  database.insert(other);
  database.insert(makeTrial(1024, 64, 100));
  EXPECT_EQ(listDevices(database).size(), 2u);
}

TEST(SelectionTest, DoesNotDependOnTheOrderOfRecords) {
  std::vector<Record> records;
  std::mt19937 random(1);
  for (int i = 0; i < 60; ++i)
    records.push_back(makeTrial(1024, 16 * (i % 6 + 1), 90 + i % 7, i % 3 ? TrialStage::Final : TrialStage::Screen));
  SelectionDigest first;
  first.add(select(records));
  for (int i = 0; i < 10; ++i) {
    std::shuffle(records.begin(), records.end(), random);
    SelectionDigest again;
    again.add(select(records));
    EXPECT_EQ(again.finish(), first.finish());
  }
}

TEST(SelectionTest, Buckets) {
  EXPECT_EQ(bucketOf(0), 1);
  EXPECT_EQ(bucketOf(1), 1);
  EXPECT_EQ(bucketOf(2), 2);
  EXPECT_EQ(bucketOf(3), 3);
  EXPECT_EQ(bucketOf(8191), 6144);
  EXPECT_EQ(bucketOf(8192), 8192);
  EXPECT_EQ(bucketOf(12287), 8192);
  EXPECT_EQ(bucketOf(12288), 12288);
}

TEST(SelectionTest, LookupTakesTheNearestLengthOfTheBucket) {
  Selection selection = select(
      {makeTrial(8192, 64, 100), makeTrial(9000, 96, 100), makeTrial(12000, 128, 100), makeTrial(20000, 192, 100)});
  auto lookup = [&](int64_t length, auto accepts) {
    return selection.lookup(*parseProblem(makeProblemText(length)), accepts);
  };
  Choice exact = lookup(8192, acceptAll);
  EXPECT_EQ(exact.source, ChoiceSource::Exact);
  EXPECT_EQ(exact.trial->schedule, R"({"tile_n":64})");
  Choice nearest = lookup(9100, acceptAll);
  EXPECT_EQ(nearest.source, ChoiceSource::Nearest);
  EXPECT_EQ(nearest.trial->schedule, R"({"tile_n":96})");
  // A schedule that is not legal here is passed over, an exact one too.
  Choice next = lookup(9100, [](const std::string &schedule) { return schedule != R"({"tile_n":96})"; });
  EXPECT_EQ(next.trial->schedule, R"({"tile_n":64})");
  EXPECT_EQ(lookup(9000, [](const std::string &schedule) { return schedule != R"({"tile_n":96})"; }).source,
            ChoiceSource::Nearest);
  // Other buckets, other types and illegal schedules leave the heuristic.
  EXPECT_EQ(lookup(4096, acceptAll).source, ChoiceSource::Heuristic);
  EXPECT_EQ(lookup(9100, [](const std::string &) { return false; }).source, ChoiceSource::Heuristic);
  EXPECT_EQ(selection.lookup(*parseProblem(makeProblemText(8192, "f16")), acceptAll).source, ChoiceSource::Heuristic);
}

TEST(SelectionTest, DigestTellsChoicesApart) {
  SelectionDigest a, b, c;
  a.add("p", "s", "k");
  a.add("p", "s", "k");
  b.add("p", "s", "k");
  c.add("p", "s", "other kernel");
  EXPECT_EQ(a.finish(), b.finish());
  EXPECT_NE(a.finish(), c.finish());
  EXPECT_EQ(SelectionDigest().finish(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

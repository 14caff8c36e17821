//===- DatabaseTest.cpp - Records, journals, packs and their union
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Tuning/Database.h"
#include "TuningSupport.h"
#include "fresnel/Artifact/File.h"
#include "fresnel/Tuning/Journal.h"
#include "fresnel/Tuning/Selection.h"
#include <csignal>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace fresnel::rt;

namespace {

class DatabaseTest : public testing::Test {
protected:
  void SetUp() override {
    folder = testing::TempDir() + "fresnel_db_" + std::to_string(getpid());
    std::filesystem::remove_all(folder);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  Database read() {
    Expected<Database> database = Database::open(folder);
    EXPECT_TRUE(bool(database)) << database.status().message();
    return database ? *database : Database();
  }
  std::string writeJournal(const std::vector<Record> &records) {
    Expected<Journal> journal = Journal::create(folder, makeRunId());
    EXPECT_TRUE(bool(journal)) << journal.status().message();
    for (const Record &record : records)
      EXPECT_TRUE(journal->append(record).ok());
    return journal->path();
  }
  void appendText(const std::string &path, const std::string &text) { std::ofstream(path, std::ios::app) << text; }

  std::string folder;
};

std::vector<std::string> textsOf(const Database &database) {
  std::vector<std::string> texts;
  for (const auto &[text, record] : database.records())
    texts.push_back(text);
  return texts;
}

} // namespace

TEST(RecordTest, RoundTrips) {
  Record record = makeTrial(8192, 128, 90.5);
  record.trial.clockLow = 1700;
  std::string text = toJson(record);
  Expected<Record> again = parseRecord(text);
  ASSERT_TRUE(bool(again)) << again.status().message();
  EXPECT_EQ(toJson(*again), text);
  EXPECT_EQ(again->trial.us.median, 90.5);
  EXPECT_EQ(again->trial.clockLow, 1700);
  EXPECT_EQ(again->trial.problem.lengths, (std::vector<int64_t>{8192, 8192}));
  EXPECT_EQ(again->trial.build, "");
  record.trial.build = "0123";
  record.trial.target = "sm_90a";
  again = parseRecord(toJson(record));
  ASSERT_TRUE(bool(again));
  EXPECT_EQ(again->trial.build + again->trial.target, "0123sm_90a");
  record.trial.status = TrialStatus::Timeout;
  record.trial.reason = "no answer in 5 s";
  again = parseRecord(toJson(record));
  ASSERT_TRUE(bool(again));
  EXPECT_EQ(again->trial.reason, "no answer in 5 s");
  for (RecordKind kind : {RecordKind::Begin, RecordKind::Stopped}) {
    record.kind = kind;
    again = parseRecord(toJson(record));
    ASSERT_TRUE(bool(again));
    EXPECT_EQ(again->kind, kind);
  }
}

TEST(RecordTest, KeepsMembersThatItDoesNotKnow) {
  std::string text = toJson(makeTrial(8192, 128, 90));
  for (auto [after, more] :
       {std::pair(R"("type":"trial")", R"("zeta":{"a":[1,null]})"), {R"("p80":90.0)", R"("p99":91.5)"}})
    text.insert(text.find(after) + std::string(after).size(), std::string(",") + more);
  text = *canonicalJson(text);
  Expected<Record> record = parseRecord(text);
  ASSERT_TRUE(bool(record)) << record.status().message();
  EXPECT_EQ(record->trial.us.p80, 90.0);
  EXPECT_EQ(toJson(*record), text);
  Expected<Record> plain = parseRecord(toJson(makeTrial(8192, 128, 90)));
  EXPECT_EQ(plain->trial.unknown, "");
}

TEST(RecordTest, RefusesWhatWouldMislead) {
  std::string good = toJson(makeTrial(8192, 128, 90));
  auto refuse = [&good](const std::string &from, const std::string &to, const std::string &why) {
    std::string text = good;
    ASSERT_NE(text.find(from), std::string::npos) << from;
    text.replace(text.find(from), from.size(), to);
    Expected<Record> record = parseRecord(text);
    ASSERT_FALSE(bool(record)) << text;
    EXPECT_NE(record.status().message().find(why), std::string::npos) << record.status().message();
  };
  refuse("fresnel.trial/1", "fresnel.trial/2", "schema 'fresnel.trial/2' is not fresnel.trial/1");
  refuse(R"("median":90.0)", R"("median":0)", "a time of zero");
  refuse(R"("median":90.0)", R"("median":"90")", "'median' is not a number");
  refuse(R"("median":90.0)", R"("median":1e999)", "not a JSON object");
  refuse(R"("oracle":0.002)", R"("oracle":-3)", "'oracle' is not a number of at least");
  refuse(R"("status":"ok")", R"("status":"fine")", "'fine', which this version does not know");
  refuse(R"("schedule":{"tile_n":128})", R"("schedule":[1])", "'schedule' is not an object");
  refuse(R"("stage":)", R"("target":90,"stage":)", "'target' is not a string");
  refuse(R"("multiprocessors":132)", R"("multiprocessors":3181870732)",
         "'multiprocessors' is not an integer of at most");
  refuse(R"("operands":[)", R"("operand":[)", "operands");
  refuse(R"("shape":[1,)", R"("shape":[-1,)", "a size of a problem's operand is -1");
  EXPECT_FALSE(bool(parseRecord("")));
  EXPECT_FALSE(bool(parseRecord(std::string(100000, '['))));
  Record unverified = makeTrial(8192, 128, 90);
  unverified.trial.verified = {};
  EXPECT_FALSE(bool(parseRecord(toJson(unverified))));
}

TEST_F(DatabaseTest, MissingFolderIsEmpty) {
  EXPECT_TRUE(read().records().empty());
  EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(DatabaseTest, TornLastLineIsLeftOut) {
  std::string path = writeJournal({makeTrial(1024, 64, 100), makeTrial(1024, 128, 90)});
  appendText(path, toJson(makeTrial(1024, 192, 80)).substr(0, 100));
  Database database = read();
  EXPECT_EQ(database.records().size(), 2u);
  ASSERT_EQ(database.warnings().size(), 1u);
  EXPECT_NE(database.warnings()[0].find(".jsonl:3: the last line is torn"), std::string::npos);
}

TEST_F(DatabaseTest, DamagedLinesCostOnlyThemselves) {
  std::string path = writeJournal({makeTrial(1024, 64, 100)});
  appendText(path, "\x01\x02 garbage\n{}\n" + toJson(makeTrial(1024, 128, 90)) + "\n");
  Database database = read();
  EXPECT_EQ(database.records().size(), 2u);
  EXPECT_EQ(database.warnings().size(), 2u);
}

TEST_F(DatabaseTest, MergeIsASetUnion) {
  Database a, b, c;
  for (int i = 0; i < 20; ++i) {
    Record record = makeTrial(1024 + i, 64, 100 + i);
    if (i % 2)
      a.insert(record);
    if (i % 3)
      b.insert(record);
    if (i % 5 == 0)
      c.insert(record);
  }
  Database left = a, right = c;
  left.merge(b);
  left.merge(c);
  right.merge(b);
  right.merge(a);
  EXPECT_EQ(textsOf(left), textsOf(right));
  EXPECT_EQ(left.merge(a), 0u);
  EXPECT_EQ(textsOf(left), textsOf(right));
}

TEST_F(DatabaseTest, PacksAreContentAddressedAndChecked) {
  Database database;
  database.insert(makeTrial(1024, 64, 100));
  database.insert(makeTrial(1024, 128, 90));
  Expected<std::string> path = publishPack(folder, database.records());
  ASSERT_TRUE(bool(path)) << path.status().message();
  Expected<std::string> second = publishPack(folder, database.records());
  ASSERT_TRUE(bool(second));
  EXPECT_EQ(*path, *second);
  EXPECT_EQ(textsOf(read()), textsOf(database));
  EXPECT_EQ(textsOf(*Database::open(*path)), textsOf(database));
  std::string content = *readFile(*path);
  content[content.size() - 10] ^= 1;
  ASSERT_TRUE(writeFileAtomically(*path, {content}).ok());
  Database damaged = read();
  EXPECT_TRUE(damaged.records().empty());
  ASSERT_EQ(damaged.warnings().size(), 1u);
  EXPECT_NE(damaged.warnings()[0].find("the pack is damaged"), std::string::npos);
}

TEST_F(DatabaseTest, PacksOfAnotherSchemaAreLeftOutWhole) {
  std::string pack = makePack(Database::parse("journal", toJson(makeTrial(8192, 64, 100)) + "\n").records());
  EXPECT_EQ(Database::parse("pack", pack).records().size(), 1u);
  pack.replace(pack.find("fresnel.pack/1"), 14, "fresnel.pack/2");
  Database newer = Database::parse("pack", pack);
  EXPECT_TRUE(newer.records().empty());
  ASSERT_EQ(newer.warnings().size(), 1u);
  EXPECT_NE(newer.warnings()[0].find("the header of a pack of schema fresnel.pack/1"), std::string::npos);
}

TEST_F(DatabaseTest, JournalsHaveOneWriter) {
  Expected<Journal> first = Journal::create(folder, "0000");
  ASSERT_TRUE(bool(first));
  Expected<Journal> second = Journal::create(folder, "0000");
  ASSERT_FALSE(bool(second));
  EXPECT_EQ(second.status().code(), Code::IoError);
  EXPECT_TRUE(isJournalLive(first->path()));
}

TEST_F(DatabaseTest, UnusableFoldersAreErrors) {
  std::ofstream(folder) << "a file";
  Expected<Journal> journal = Journal::create(folder, makeRunId());
  ASSERT_FALSE(bool(journal));
  EXPECT_NE(journal.status().message().find(folder), std::string::npos) << journal.status().message();
}

/// Twelve processes append while others pack and read; some are killed in the
/// middle. Every record whose `append` returned is there afterwards.
TEST_F(DatabaseTest, ConcurrentProcessesLoseNoRow) {
  constexpr int kWriters = 12, kRows = 30;
  std::vector<pid_t> children;
  for (int writer = 0; writer < kWriters; ++writer) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Expected<Journal> journal = Journal::create(folder, makeRunId());
      for (int row = 0; journal && row < kRows; ++row) {
        if (!journal->append(makeTrial(writer * 1000 + row, 64, 100)).ok())
          _exit(2);
        if (row % 10 == 9) {
          Expected<Database> database = Database::open(folder);
          if (!database || !publishPack(folder, database->records()))
            _exit(3);
        }
        if (writer % 4 == 0 && row == kRows / 2)
          kill(getpid(), SIGKILL);
      }
      _exit(journal ? 0 : 1);
    }
    children.push_back(child);
  }
  for (int writer = 0; writer < kWriters; ++writer) {
    int status = 0;
    ASSERT_EQ(waitpid(children[size_t(writer)], &status, 0), children[size_t(writer)]);
    if (writer % 4)
      EXPECT_EQ(status, 0) << writer;
    else
      EXPECT_TRUE(WIFSIGNALED(status));
  }
  Database database = read();
  EXPECT_TRUE(database.warnings().empty());
  Database expected;
  for (int writer = 0; writer < kWriters; ++writer)
    for (int row = 0; row < (writer % 4 ? kRows : kRows / 2 + 1); ++row)
      expected.insert(makeTrial(writer * 1000 + row, 64, 100));
  EXPECT_EQ(textsOf(database), textsOf(expected));
}

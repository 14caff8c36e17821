//===- TuneSession.cpp - Tuning one kernel after another --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TuneSession.h"
#include "TuneWork.h"

#include "fresnel/Artifact/Sha256.h"
#include "fresnel/Jit/CompilerId.h"

#include "llvm/Config/llvm-config.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <unistd.h>

namespace fresnel::tool {

/// Parts of a problem's time: the screening's, and the samples of what follows.
static constexpr double kScreenShare = 0.7;
static constexpr double kHalvingSeconds = 1, kFinalSeconds = 2;
/// More than this many passed: a third of them meets before the final.
static constexpr size_t kHalvingFrom = 9, kMostHalving = 12, kFinalists = 3;
/// A schedule whose trial began this often and never ended takes its machine down.
static constexpr int64_t kMostBegins = 8;

/// The part of a budget that is left to end workers, remove files and report.
static double reserveOf(double budget) { return std::clamp(budget / 5, 0.5, 2.0); }

static TuneOptions::Clock::duration toDuration(double seconds) {
  return std::chrono::duration_cast<TuneOptions::Clock::duration>(std::chrono::duration<double>(seconds));
}

static double secondsBetween(TuneOptions::Clock::time_point from, TuneOptions::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

TuneSession::TuneSession(const TuneOptions &options, const std::string &path, const std::string &scratch)
    : options(options), scratch(scratch),
      deadline(options.start + toDuration(options.budget - reserveOf(options.budget))), folder(path),
      run(rt::makeRunId()), build(rt::toHex(rt::sha256(getCompilerId())).substr(0, 16)),
      terminal(isatty(STDERR_FILENO)) {
  database = openDatabase(path);
  rt::Expected<rt::Journal> created = rt::Journal::create(path, run);
  if (!created)
    fail(ExitEnvironment, created.status().message(), "a tuning database is a folder; packs are only read");
  journal = std::move(*created);
  describeDevice();
}

TuneSession::~TuneSession() = default;

double TuneSession::secondsLeft() const { return secondsBetween(TuneOptions::Clock::now(), deadline); }

double TuneSession::secondsSpent() const { return secondsBetween(options.start, TuneOptions::Clock::now()); }

void TuneSession::describeDevice() {
  WorkerReply reply = runWorker({{"type", "describe"}, {"device", options.device}}, scratch, {options.limit});
  if (reply.status != rt::TrialStatus::Ok)
    fail(ExitEnvironment, "tune needs a GPU: " + reply.reason,
         std::getenv("FRESNEL_TUNE_WORKER") ? "FRESNEL_TUNE_WORKER names the program that was asked for it"
                                            : "compile works without one");
  deviceClass = {reply.data.value("name", ""), reply.data.value("compute", 0), reply.data.value("multiprocessors", 0)};
  clockKhz = reply.data.value("clock_khz", 0.0);
}

//===----------------------------------------------------------------------===//
// The database
//===----------------------------------------------------------------------===//

void TuneSession::store(rt::RecordKind kind, const rt::Trial &trial) {
  rt::Record record{kind, trial};
  database.insert(record);
  rt::Status status = journal->append(record);
  if (!status.ok())
    fail(ExitEnvironment, status.message());
}

rt::Trial TuneSession::makeTrial(const Work &work, size_t candidate) const {
  rt::Trial trial;
  trial.run = run;
  trial.problem = work.kernel.problem;
  trial.device = deviceClass;
  trial.kernel = work.hashes[candidate];
  trial.schedule = work.kernel.schedules[candidate].schedule;
  trial.baseline = work.kernel.schedules[0].schedule;
  trial.compiler = "fresnel " FRESNEL_VERSION ", LLVM " LLVM_VERSION_STRING;
  trial.build = build;
  trial.target = work.subject.request.target;
  return trial;
}

static bool isSameCode(const rt::Trial &a, const rt::Trial &b) {
  return a.problem.key == b.problem.key && a.device == b.device && a.schedule == b.schedule && a.kernel == b.kernel;
}

/// Whether a trial saves another one beside that default.
bool TuneSession::mayServe(const rt::Trial &trial, const std::string &baseline) const {
  bool ok = trial.status == rt::TrialStatus::Ok, mine = trial.run == run;
  if ((options.retune && !mine) || (options.retry && !ok && !mine))
    return false;
  return !ok || trial.baseline == baseline;
}

/// A result of an earlier run for the same code: it need not be measured again.
const rt::Trial *TuneSession::findKnown(const rt::Trial &trial, rt::TrialStage stage) const {
  const rt::Trial *known = nullptr;
  for (const auto &[text, record] : database.records()) {
    const rt::Trial &other = record.trial;
    if (record.kind == rt::RecordKind::Trial && other.stage == stage && isSameCode(other, trial) &&
        mayServe(other, trial.baseline) && (!known || other.us.count > known->us.count))
      known = &other;
  }
  return known;
}

/// The results whose code is the same without a look at it: this very compiler made it for the same target.
void TuneSession::findKnownScreens(Work &work) const {
  const std::vector<TunableSchedule> &schedules = work.kernel.schedules;
  std::map<std::string, size_t> candidates;
  for (size_t i = 0; i < schedules.size(); ++i)
    candidates.emplace(schedules[i].schedule, i);
  work.known.assign(schedules.size(), nullptr);
  for (const auto &[text, record] : database.records()) {
    const rt::Trial &other = record.trial;
    auto candidate = candidates.find(other.schedule);
    if (record.kind != rt::RecordKind::Trial || other.stage != rt::TrialStage::Screen ||
        candidate == candidates.end() || other.problem.key != work.kernel.problem.key ||
        !(other.device == deviceClass) || other.build != build || other.target != work.subject.request.target ||
        !mayServe(other, schedules[0].schedule))
      continue;
    const rt::Trial *&known = work.known[candidate->second];
    if (!known || other.us.count > known->us.count)
      known = &other;
  }
}

bool TuneSession::crashedTooOften(const rt::Trial &trial) const {
  int64_t begins = 0;
  for (const auto &[text, record] : database.records())
    if (record.kind != rt::RecordKind::Trial && isSameCode(record.trial, trial))
      begins += record.kind == rt::RecordKind::Begin ? 1 : -1;
  return begins >= kMostBegins;
}

//===----------------------------------------------------------------------===//
// Progress
//===----------------------------------------------------------------------===//

void TuneSession::show(const Work &work, const std::string &what, bool always) {
  auto now = std::chrono::steady_clock::now();
  double wait = terminal ? 0.2 : 10;
  if (!always && std::chrono::duration<double>(now - lastLine).count() < wait)
    return;
  lastLine = now;
  double best = 1;
  size_t done = 0, legal = 0;
  for (size_t i = 0; i < work.end; ++i) {
    const CandidateReport &candidate = work.report.candidates[i];
    legal += candidate.outcome != "illegal";
    done += candidate.outcome != "illegal" && candidate.outcome != "not measured";
    if (candidate.trial)
      best = std::min(best, candidate.trial->us.relative);
  }
  char line[256];
  std::snprintf(line, sizeof line, "%s %s: %zu of %zu schedules, best %.3f of default, %.0f s left: %s",
                work.report.subject.c_str(), work.report.kernel.c_str(), done, legal, best,
                std::max(0.0, secondsLeft()), what.c_str());
  std::fprintf(stderr, terminal ? "\r%.150s\033[K" : "%s\n", line);
}

//===----------------------------------------------------------------------===//
// A problem
//===----------------------------------------------------------------------===//

void TuneSession::listCandidates(Work &work) {
  size_t tried = 0;
  for (const TunableSchedule &schedule : work.kernel.schedules) {
    double bound = clockKhz > 0 ? schedule.boundCycles / clockKhz * 1e3 : 0;
    bool legal = schedule.rejected.empty();
    work.report.candidates.push_back({schedule.schedule,
                                      legal ? "not measured" : "illegal",
                                      legal ? "the budget ended" : schedule.rejected,
                                      bound,
                                      {}});
    if (legal && tried++ >= options.most)
      work.report.candidates.back().reason = "--most " + std::to_string(options.most) + " was reached";
    else if (legal)
      work.end = work.report.candidates.size();
  }
}

static void keepFirst(std::vector<size_t> &order, size_t count) { order.resize(std::min(order.size(), count)); }

/// The races of those that passed the screening. `share`: seconds of the budget that the problem had.
void TuneSession::judge(Work &work, double share) {
  std::vector<size_t> order = rank(work);
  if (order.size() > kHalvingFrom) {
    keepFirst(order, std::min(kMostHalving, (order.size() + 2) / 3));
    race(work, order, rt::TrialStage::Halving, std::min(kHalvingSeconds, share / 10));
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return work.report.candidates[a].trial->us.relative < work.report.candidates[b].trial->us.relative;
    });
  }
  keepFirst(order, kFinalists);
  if (!order.empty() && !isInterrupted())
    race(work, order, rt::TrialStage::Final, std::min(kFinalSeconds, share / 5));
}

ProblemReport TuneSession::tune(TuneSubject &subject, const TunableKernel &kernel, size_t left) {
  Work work(subject, kernel);
  work.report.subject = subject.request.label;
  work.report.kernel = kernel.name;
  work.report.problem = kernel.problem;
  work.report.defaultSchedule = kernel.schedules[0].schedule;
  work.id = scratch + "/" + rt::makeRunId();
  work.hashes.resize(kernel.schedules.size());
  work.compiled.resize(kernel.schedules.size());
  listCandidates(work);
  findKnownScreens(work);
  double share = std::max(0.0, secondsLeft()) / double(std::max<size_t>(left, 1));
  screen(work, secondsLeft() - share * kScreenShare);
  if (!work.report.candidates[0].trial) {
    work.report.leftOut = work.report.candidates[0].outcome == "not measured";
    work.report.failure = isInterrupted() ? "interrupted"
                          : work.report.leftOut
                              ? "the budget ended before it was measured"
                              : "the default schedule did not pass: " + work.report.candidates[0].reason;
  } else if (!isInterrupted()) {
    judge(work, share);
  }
  show(work, "done", true);
  if (terminal)
    std::fprintf(stderr, "\n");
  rt::Selection selection(database, deviceClass);
  auto chosen = selection.choices().find(kernel.problem.key);
  if (chosen != selection.choices().end())
    work.report.chosen = chosen->second;
  return std::move(work.report);
}

} // namespace fresnel::tool

//===- TuneSession.cpp - Tuning one kernel after another --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TuneSession.h"
#include "TuneCandidate.h"
#include "TuneWorker.h"

#include "llvm/Config/llvm-config.h"
#include "llvm/Support/ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <iostream>
#include <unistd.h>

namespace fresnel::tool {

/// Parts of a problem's time: screening, halving, the final; and the samples of each.
static constexpr double kScreenShare = 0.7;
static constexpr double kScreenSeconds = 0.3, kHalvingSeconds = 1, kFinalSeconds = 2;
static constexpr int64_t kScreenRounds = 60, kHalvingRounds = 120, kFinalRounds = 240;
/// More than this many passed: a third of them meets before the final.
static constexpr size_t kHalvingFrom = 9, kMostHalving = 12, kFinalists = 3;
/// A schedule whose trial began this often and never ended takes its machine down.
static constexpr size_t kMostBegins = 8;

/// One kernel while it is tuned.
struct TuneSession::Work {
  Work(const TuneSubject &subject, const TunableKernel &kernel) : subject(subject), kernel(kernel) {}
  ~Work() {
    stop = true;
    pool.reset();
  }
  std::string path(size_t candidate, const char *what) const {
    return id + "." + std::to_string(candidate) + "." + what + ".fkb";
  }

  const TuneSubject &subject;
  const TunableKernel &kernel;
  ProblemReport report;
  /// Bundles in the scratch folder.
  std::string prefix, id;
  std::set<std::string> sequenceMajor;
  /// One past the last schedule that may be tried.
  size_t end = 0;
  std::vector<std::shared_future<WorkerReply>> compiled;
  std::vector<std::string> hashes;
  std::atomic<bool> stop{false};
  std::unique_ptr<llvm::DefaultThreadPool> pool;
};

TuneSession::TuneSession(const TuneOptions &options, const std::string &path, const std::string &scratch)
    : options(options), scratch(scratch), start(std::chrono::steady_clock::now()), folder(path), run(rt::makeRunId()),
      terminal(isatty(STDERR_FILENO)) {
  database = openDatabase(path);
  rt::Expected<rt::Journal> created = rt::Journal::create(path, run);
  if (!created)
    fail(ExitEnvironment, created.status().message(), "a tuning database is a folder; packs are only read");
  journal = std::move(*created);
  describeDevice();
}

TuneSession::~TuneSession() = default;

double TuneSession::secondsLeft() const {
  return options.budget - std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void TuneSession::describeDevice() {
  WorkerReply reply = runWorker({{"type", "describe"}, {"device", options.device}}, scratch, options.limit);
  if (reply.status != rt::TrialStatus::Ok)
    fail(ExitEnvironment, "tune needs a GPU: " + reply.reason, "compile works without one");
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
  return trial;
}

static bool isSameCode(const rt::Trial &a, const rt::Trial &b) {
  return a.problem.key == b.problem.key && a.device == b.device && a.schedule == b.schedule && a.kernel == b.kernel;
}

/// A result of an earlier run for the same code: it need not be measured again.
const rt::Trial *TuneSession::findKnown(const Work &work, const rt::Trial &trial, rt::TrialStage stage) const {
  const rt::Trial *known = nullptr;
  for (const auto &[text, record] : database.records()) {
    const rt::Trial &other = record.trial;
    if (record.kind != rt::RecordKind::Trial || other.stage != stage || !isSameCode(other, trial))
      continue;
    bool ok = other.status == rt::TrialStatus::Ok;
    bool mine = other.run == run;
    if ((options.retune && !mine) || (options.retry && !ok && !mine) || (ok && other.baseline != trial.baseline))
      continue;
    if (!known || other.us.count > known->us.count)
      known = &other;
  }
  return known;
}

bool TuneSession::crashedTooOften(const rt::Trial &trial) const {
  size_t begins = 0;
  for (const auto &[text, record] : database.records())
    begins += record.kind == rt::RecordKind::Begin && isSameCode(record.trial, trial);
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
// Candidates
//===----------------------------------------------------------------------===//

/// Compiles ahead of the device, in the background and in order.
void TuneSession::submitCompiles(Work &work, size_t upTo) {
  for (size_t i = work.compiled.size(); i < std::min(upTo, work.end); ++i) {
    if (!work.kernel.schedules[i].rejected.empty()) {
      work.compiled.emplace_back();
      continue;
    }
    Json job = {{"type", "compile"},
                {"kernel", work.kernel.name},
                {"schedule", work.kernel.schedules[i].schedule},
                {"target", work.subject.target},
                {"program", work.subject.program},
                {"out", work.path(i, "full")},
                {"check_program", work.subject.checkProgram},
                {"check_default", work.subject.checkPlan},
                {"check_out", work.path(i, "check")}};
    work.compiled.push_back(work.pool->async([this, job, &work]() -> WorkerReply {
      if (work.stop)
        return {};
      try {
        return runWorker(job, scratch, 2 * options.limit);
      } catch (const Failure &failure) {
        return {rt::TrialStatus::CompileError, failure.message, {}};
      }
    }));
  }
}

/// Keeps a trial in the database and in the report.
void TuneSession::finish(Work &work, size_t candidate, rt::Trial trial) {
  CandidateReport &report = work.report.candidates[candidate];
  report.outcome = rt::nameOf(trial.status);
  report.reason = trial.reason;
  if (trial.status == rt::TrialStatus::Ok)
    report.trial = trial;
  store(rt::RecordKind::Trial, trial);
}

/// True if the candidate cannot win: even at the full clock its matrix products
/// alone take longer than what was measured.
bool TuneSession::prune(Work &work, size_t candidate) {
  double bound = work.report.candidates[candidate].boundUs, best = 0;
  for (const CandidateReport &other : work.report.candidates)
    if (other.trial)
      best = best > 0 ? std::min(best, other.trial->us.median) : other.trial->us.median;
  if (candidate == 0 || bound <= 0 || best <= 0 || bound <= best)
    return false;
  rt::Trial trial = makeTrial(work, candidate);
  trial.status = rt::TrialStatus::Pruned;
  char text[128];
  std::snprintf(text, sizeof text, "its matrix products take %.1f us at least, the best takes %.1f us", bound, best);
  trial.reason = text;
  finish(work, candidate, trial);
  return true;
}

static rt::Timing timingOf(const Json &data) {
  return {data.value("median", 0.0), data.value("p20", 0.0), data.value("p80", 0.0), data.value("count", int64_t(0)),
          data.value("relative", 0.0)};
}

/// Fills a trial from variant `index` of a measurement; what makes no sense is a failure.
static void fillTrial(rt::Trial &trial, const WorkerReply &reply, size_t index) {
  trial.status = reply.status;
  trial.reason = reply.reason;
  if (reply.status != rt::TrialStatus::Ok)
    return;
  const Json &variant = reply.data["variants"].at(index);
  trial.us = timingOf(variant);
  trial.verified = {reply.data.value("oracle", -1.0), variant.value("error", -1.0)};
  if (reply.data.contains("clock")) {
    trial.clockLow = reply.data["clock"].at(0);
    trial.clockHigh = reply.data["clock"].at(1);
  }
  trial.throttled = reply.data.value("throttled", int64_t(0));
  if (trial.us.median > 0 && trial.us.relative > 0 && trial.us.count > 0)
    return;
  trial.status = rt::TrialStatus::Fault;
  trial.reason = "the device measured no time";
}

static Json measureRequest(const TuneOptions &options, const TuneSubject &subject, const std::string &prefix,
                           const std::set<std::string> &sequenceMajor, double seconds, int64_t rounds) {
  Json job = {{"type", "measure"},  {"device", options.device}, {"sequence_major", sequenceMajor}, {"seed", 1},
              {"seconds", seconds}, {"rounds", rounds},         {"tolerance", subject.tolerance}};
  if (!prefix.empty())
    job["prefix"] = prefix;
  return job;
}

void TuneSession::screenOne(Work &work, size_t candidate) {
  rt::Trial trial = makeTrial(work, candidate);
  if (const rt::Trial *known = findKnown(work, trial, rt::TrialStage::Screen)) {
    ++work.report.reused;
    CandidateReport &report = work.report.candidates[candidate];
    report.outcome = rt::nameOf(known->status);
    report.reason = known->reason;
    if (known->status == rt::TrialStatus::Ok)
      report.trial = *known;
    return;
  }
  if (crashedTooOften(trial)) {
    trial.status = rt::TrialStatus::Crashed;
    trial.reason = "its trial began " + std::to_string(kMostBegins) + " times and never ended";
    return finish(work, candidate, trial);
  }
  store(rt::RecordKind::Begin, trial);
  Json job = measureRequest(options, work.subject, work.prefix, work.sequenceMajor, kScreenSeconds, kScreenRounds);
  job["variants"] = Json::array({work.path(0, "full")});
  if (candidate > 0)
    job["variants"].push_back(work.path(candidate, "full"));
  if (!work.subject.checkPlan.empty()) {
    job["check"] = work.path(candidate, "check");
    job["oracle"] = work.subject.oracle;
  }
  WorkerReply reply =
      runWorker(job, scratch, options.limit, [&] { show(work, "measuring " + scheduleText(trial.schedule)); });
  if (isInterrupted())
    return;
  ++work.report.measured;
  fillTrial(trial, reply, candidate == 0 ? 0 : 1);
  finish(work, candidate, trial);
}

/// Every legal candidate once, against the default, while there is time.
void TuneSession::screen(Work &work, double until) {
  unsigned ahead = options.jobs + 2;
  for (size_t i = 0; i < work.end && !isInterrupted(); ++i) {
    submitCompiles(work, i + 1 + ahead);
    if (!work.kernel.schedules[i].rejected.empty())
      continue;
    if (secondsLeft() < (i > 0 ? until : 0))
      break;
    while (work.compiled[i].wait_for(std::chrono::milliseconds(100)) != std::future_status::ready)
      show(work, "compiling");
    WorkerReply compiled = work.compiled[i].get();
    if (isInterrupted())
      break;
    if (compiled.status != rt::TrialStatus::Ok) {
      rt::Trial trial = makeTrial(work, i);
      trial.status =
          compiled.status == rt::TrialStatus::Timeout ? rt::TrialStatus::Timeout : rt::TrialStatus::CompileError;
      trial.reason = "compiling: " + compiled.reason;
      if (!findKnown(work, trial, rt::TrialStage::Screen))
        store(rt::RecordKind::Trial, trial);
      work.report.candidates[i].outcome = rt::nameOf(trial.status);
      work.report.candidates[i].reason = trial.reason;
    } else {
      work.hashes[i] = compiled.data.value("kernel", "");
      bool known = findKnown(work, makeTrial(work, i), rt::TrialStage::Screen);
      if (known || !prune(work, i))
        screenOne(work, i);
    }
    // Nothing can be compared with a default that does not work.
    if (i == 0 && !work.report.candidates[0].trial)
      return;
  }
}

/// Candidates that passed, fastest first, without the default.
std::vector<size_t> TuneSession::rank(const Work &work) const {
  std::vector<size_t> order;
  for (size_t i = 1; i < work.report.candidates.size(); ++i)
    if (work.report.candidates[i].trial)
      order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return work.report.candidates[a].trial->us.relative < work.report.candidates[b].trial->us.relative;
  });
  return order;
}

/// The default and the survivors in common rounds.
void TuneSession::race(Work &work, const std::vector<size_t> &survivors, rt::TrialStage stage, double seconds) {
  std::vector<size_t> field = {0};
  field.insert(field.end(), survivors.begin(), survivors.end());
  std::vector<rt::Trial> trials;
  bool known = true;
  Json job = measureRequest(options, work.subject, work.prefix, work.sequenceMajor, seconds,
                            stage == rt::TrialStage::Final ? kFinalRounds : kHalvingRounds);
  for (size_t candidate : field) {
    rt::Trial trial = makeTrial(work, candidate);
    trial.stage = stage;
    const rt::Trial *before = findKnown(work, trial, stage);
    known = known && before && before->status == rt::TrialStatus::Ok;
    trials.push_back(before ? *before : trial);
    job["variants"].push_back(work.path(candidate, "full"));
  }
  if (!known) {
    WorkerReply reply = runWorker(job, scratch, options.limit + seconds,
                                  [&] { show(work, std::string(rt::nameOf(stage)) + " round"); });
    if (isInterrupted())
      return;
    if (reply.status != rt::TrialStatus::Ok) {
      std::cerr << (terminal ? "\n" : "") << "warning: the " << rt::nameOf(stage) << " of " << work.report.subject
                << " failed, earlier times stand: " << reply.reason << "\n";
      return;
    }
    for (size_t i = 0; i < field.size(); ++i) {
      rt::Verification verified = work.report.candidates[field[i]].trial->verified;
      trials[i] = makeTrial(work, field[i]);
      trials[i].stage = stage;
      fillTrial(trials[i], reply, i);
      trials[i].verified.oracle = verified.oracle;
      if (trials[i].status == rt::TrialStatus::Ok)
        store(rt::RecordKind::Trial, trials[i]);
    }
  }
  for (size_t i = 0; i < field.size(); ++i)
    if (trials[i].status == rt::TrialStatus::Ok)
      work.report.candidates[field[i]].trial = trials[i];
}

//===----------------------------------------------------------------------===//
// A problem
//===----------------------------------------------------------------------===//

/// Rank-4 inputs and outputs of the plan: PyTorch's [B, N, H, D] is what users pass.
static std::set<std::string> listSequenceMajor(const rt::Manifest &manifest) {
  std::set<std::string> names;
  for (const rt::Buffer &buffer : manifest.buffers)
    if (!buffer.isInWorkspace() && buffer.shape.size() == 4 && !rt::isInteger(buffer.dtype))
      names.insert(buffer.name);
  return names;
}

static std::string writePrefix(const rt::Bundle &plan, const std::string &kernel, const std::string &path) {
  for (size_t l = 0; l < plan.manifest.launches.size(); ++l) {
    if (plan.manifest.kernels[size_t(plan.manifest.launches[l].kernel)].name != kernel)
      continue;
    std::optional<rt::Bundle> prefix = cutPrefix(plan, l);
    if (!prefix)
      return "";
    rt::Status status = rt::writeBundle(path, prefix->manifest, prefix->ptx);
    if (!status.ok())
      fail(ExitEnvironment, status.message());
    return path;
  }
  fail(ExitInternal, "the plan does not launch kernel '" + kernel + "'");
}

static void keepFirst(std::vector<size_t> &order, size_t count) { order.resize(std::min(order.size(), count)); }

ProblemReport TuneSession::tune(const TuneSubject &subject, const TunableKernel &kernel, size_t left) {
  Work work(subject, kernel);
  work.report.subject = subject.label;
  work.report.kernel = kernel.name;
  work.report.problem = kernel.problem;
  work.report.defaultSchedule = kernel.schedules[0].schedule;
  work.id = scratch + "/" + rt::makeRunId();
  work.prefix = writePrefix(subject.plan, kernel.name, work.id + ".prefix.fkb");
  work.sequenceMajor = listSequenceMajor(subject.plan.manifest);
  work.hashes.resize(kernel.schedules.size());
  work.pool = std::make_unique<llvm::DefaultThreadPool>(llvm::hardware_concurrency(options.jobs));
  size_t tried = 0;
  for (const TunableSchedule &schedule : kernel.schedules) {
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
  double share = std::max(0.0, secondsLeft()) / double(std::max<size_t>(left, 1));
  screen(work, secondsLeft() - share * kScreenShare);
  if (!work.report.candidates[0].trial) {
    work.report.leftOut = work.report.candidates[0].outcome == "not measured";
    work.report.failure = isInterrupted() ? "interrupted"
                          : work.report.leftOut
                              ? "the budget ended before it was measured"
                              : "the default schedule did not pass: " + work.report.candidates[0].reason;
  } else if (!isInterrupted()) {
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

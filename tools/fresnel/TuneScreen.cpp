//===- TuneScreen.cpp - The tuner's trials: compile, measure, race ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TuneCandidate.h"
#include "TuneWork.h"

#include "fresnel/Artifact/File.h"

#include <algorithm>
#include <iostream>

namespace fresnel::tool {

/// The samples of each stage, and the seconds of a race that are worth its start.
static constexpr double kScreenSeconds = 0.3, kLeastRaceSeconds = 0.2;
static constexpr int64_t kScreenRounds = 60, kHalvingRounds = 120, kFinalRounds = 240;

//===----------------------------------------------------------------------===//
// Compiling
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

/// Prepares what all candidates need; false if the time is over.
bool TuneSession::makeReady(Work &work) {
  if (work.pool)
    return true;
  TuneSubject &subject = work.subject;
  if (!subject.prepared) {
    if (!isTimeFor(leastPreparation))
      return false;
    Progress progress("compiling " + subject.request.label);
    WorkerReply reply = runWorker(prepareRequest(subject, scratch), scratch, {options.budget, deadline});
    if (reply.stopped)
      return false;
    takePreparation(subject, reply);
    leastPreparation = leastPreparation > 0 ? std::min(leastPreparation, progress.seconds()) : progress.seconds();
  }
  work.prefix = writePrefix(subject.plan, work.kernel.name, work.id + ".prefix.fkb");
  work.sequenceMajor = listSequenceMajor(subject.plan.manifest);
  work.pool = std::make_unique<llvm::DefaultThreadPool>(llvm::hardware_concurrency(options.jobs));
  return true;
}

/// Compiles in the background, each candidate once.
void TuneSession::submitCompile(Work &work, size_t candidate) {
  if (work.compiled[candidate].valid())
    return;
  Json job = {{"type", "compile"},
              {"kernel", work.kernel.name},
              {"schedule", work.kernel.schedules[candidate].schedule},
              {"target", work.subject.request.target},
              {"program", work.subject.program},
              {"out", work.path(candidate, "full")},
              {"check_program", work.subject.checkProgram},
              {"check_default", work.subject.checkPlan},
              {"check_out", work.path(candidate, "check")}};
  ++work.report.compiled;
  work.compiled[candidate] = work.pool->async([this, job, &work]() -> WorkerReply {
    try {
      return runWorker(job, scratch, {2 * options.limit, deadline, &work.stop});
    } catch (const Failure &failure) {
      return {rt::TrialStatus::CompileError, failure.message, {}, false};
    }
  });
}

/// Waits for a candidate's compilation; nothing if the time is over before it ends.
std::optional<WorkerReply> TuneSession::compile(Work &work, size_t candidate) {
  submitCompile(work, candidate);
  while (work.compiled[candidate].wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
    if (!isTimeFor(0))
      return std::nullopt;
    show(work, "compiling");
  }
  WorkerReply reply = work.compiled[candidate].get();
  if (reply.stopped || isInterrupted())
    return std::nullopt;
  return reply;
}

//===----------------------------------------------------------------------===//
// Trials
//===----------------------------------------------------------------------===//

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

/// What the next trial will take, by those before it; 0 if there were none.
double TuneSession::trialSeconds(const Work &work) const { return work.longest > 0 ? work.longest : leastTrial; }

/// Runs a measurement. One that was stopped says nothing, and its candidate is tried again another time.
WorkerReply TuneSession::measure(Work &work, Json job, double limit, const std::string &what) {
  auto start = TuneOptions::Clock::now();
  job["type"] = "measure";
  job["device"] = options.device;
  job["sequence_major"] = work.sequenceMajor;
  job["seed"] = 1;
  job["tolerance"] = work.subject.tolerance;
  if (!work.prefix.empty())
    job["prefix"] = work.prefix;
  WorkerReply reply = runWorker(job, scratch, {limit, deadline}, [&] { show(work, what); });
  if (reply.stopped)
    return reply;
  double seconds = std::chrono::duration<double>(TuneOptions::Clock::now() - start).count();
  work.longest = std::max(work.longest, seconds);
  leastTrial = leastTrial > 0 ? std::min(leastTrial, seconds) : seconds;
  return reply;
}

/// Takes over what an earlier run learned.
void TuneSession::adopt(Work &work, size_t candidate, const rt::Trial &known) {
  ++work.report.reused;
  work.hashes[candidate] = known.kernel;
  CandidateReport &report = work.report.candidates[candidate];
  report.outcome = rt::nameOf(known.status);
  report.reason = known.reason;
  if (known.status == rt::TrialStatus::Ok)
    report.trial = known;
}

/// Tries a candidate that was compiled.
void TuneSession::screenOne(Work &work, size_t candidate) {
  rt::Trial trial = makeTrial(work, candidate);
  if (const rt::Trial *known = findKnown(trial, rt::TrialStage::Screen))
    return adopt(work, candidate, *known);
  if (prune(work, candidate))
    return;
  if (crashedTooOften(trial)) {
    trial.status = rt::TrialStatus::Crashed;
    trial.reason = "its trial began again and again and never ended";
    return finish(work, candidate, trial);
  }
  store(rt::RecordKind::Begin, trial);
  Json job = {{"seconds", kScreenSeconds}, {"rounds", kScreenRounds}, {"variants", {work.path(0, "full")}}};
  if (candidate > 0)
    job["variants"].push_back(work.path(candidate, "full"));
  if (!work.subject.checkPlan.empty()) {
    job["check"] = work.path(candidate, "check");
    job["oracle"] = work.subject.oracle;
  }
  WorkerReply reply = measure(work, job, options.limit, "measuring " + scheduleText(trial.schedule));
  if (reply.stopped)
    return store(rt::RecordKind::Stopped, trial);
  ++work.report.measured;
  fillTrial(trial, reply, candidate == 0 ? 0 : 1);
  finish(work, candidate, trial);
}

/// Compiles a candidate, and a few ahead of the device, and tries it; false if the time is over.
bool TuneSession::screenNext(Work &work, size_t candidate) {
  if (!makeReady(work))
    return false;
  submitCompile(work, 0);
  for (size_t i = candidate; i < std::min(work.end, candidate + 1 + options.jobs + 2); ++i)
    if (!work.known[i] && work.kernel.schedules[i].rejected.empty())
      submitCompile(work, i);
  std::optional<WorkerReply> standard = compile(work, 0), compiled = compile(work, candidate);
  if (!standard || !compiled)
    return false;
  if (compiled->status == rt::TrialStatus::Ok) {
    work.hashes[candidate] = compiled->data.value("kernel", "");
    if (!isTimeFor(trialSeconds(work)))
      return false;
    screenOne(work, candidate);
    return true;
  }
  rt::Trial trial = makeTrial(work, candidate);
  trial.status =
      compiled->status == rt::TrialStatus::Timeout ? rt::TrialStatus::Timeout : rt::TrialStatus::CompileError;
  trial.reason = "compiling: " + compiled->reason;
  finish(work, candidate, trial);
  return true;
}

/// Every legal candidate once, against the default, while there is time.
void TuneSession::screen(Work &work, double until) {
  bool over = false;
  for (size_t i = 0; i < work.end && !isInterrupted(); ++i) {
    if (!work.kernel.schedules[i].rejected.empty())
      continue;
    if (work.known[i])
      adopt(work, i, *work.known[i]);
    else if (!over)
      over = !isTimeFor(i > 0 ? std::max(until, trialSeconds(work)) : trialSeconds(work)) || !screenNext(work, i);
    // Nothing can be compared with a default that does not work.
    if (i == 0 && !work.report.candidates[0].trial)
      return;
  }
}

//===----------------------------------------------------------------------===//
// Races
//===----------------------------------------------------------------------===//

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

/// Measures the candidates of `field` in common rounds, if there is time for it, and puts the results into `trials`.
void TuneSession::raceNow(Work &work, const std::vector<size_t> &field, std::vector<rt::Trial> &trials,
                          rt::TrialStage stage, double seconds) {
  // A trial of the screening has two candidates to load and compare.
  seconds = std::min(seconds, secondsLeft() - trialSeconds(work) * std::max(1.0, double(field.size()) / 2));
  if (seconds < kLeastRaceSeconds || !makeReady(work))
    return;
  Json job = {{"seconds", seconds}, {"rounds", stage == rt::TrialStage::Final ? kFinalRounds : kHalvingRounds}};
  for (size_t candidate : field)
    submitCompile(work, candidate);
  for (size_t candidate : field) {
    std::optional<WorkerReply> compiled = compile(work, candidate);
    if (!compiled || compiled->status != rt::TrialStatus::Ok)
      return;
    job["variants"].push_back(work.path(candidate, "full"));
  }
  WorkerReply reply = measure(work, job, options.limit + seconds, std::string(rt::nameOf(stage)) + " round");
  if (reply.stopped)
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

/// The default and the survivors in common rounds.
void TuneSession::race(Work &work, const std::vector<size_t> &survivors, rt::TrialStage stage, double seconds) {
  std::vector<size_t> field = {0};
  field.insert(field.end(), survivors.begin(), survivors.end());
  std::vector<rt::Trial> trials(field.size());
  bool known = true;
  for (size_t i = 0; i < field.size(); ++i) {
    const rt::Trial *before = findKnown(makeTrial(work, field[i]), stage);
    known = known && before && before->status == rt::TrialStatus::Ok;
    trials[i] = before ? *before : *work.report.candidates[field[i]].trial;
  }
  if (!known)
    raceNow(work, field, trials, stage, seconds);
  for (size_t i = 0; i < field.size(); ++i)
    if (trials[i].status == rt::TrialStatus::Ok)
      work.report.candidates[field[i]].trial = trials[i];
}

} // namespace fresnel::tool

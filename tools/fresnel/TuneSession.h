//===- TuneSession.h - Tuning one kernel after another ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_TUNESESSION_H
#define FRESNEL_TOOLS_TUNESESSION_H

#include "TuneSubject.h"
#include "TuneWorker.h"
#include "fresnel/Tuning/Journal.h"
#include "fresnel/Tuning/Selection.h"

namespace fresnel::tool {

struct TuneOptions {
  using Clock = std::chrono::steady_clock;

  /// When the budget began.
  Clock::time_point start = Clock::now();
  SpaceSize space = SpaceSize::Quick;
  /// Seconds for everything, and the longest that one worker may take.
  double budget = 600, limit = 30;
  unsigned jobs = 0;
  int device = 0;
  /// Schedules of a kernel that are tried at most.
  size_t most = SIZE_MAX;
  /// Measure again what failed before; measure everything again.
  bool retry = false, retune = false;
};

/// What became of one schedule.
struct CandidateReport {
  std::string schedule;
  /// "ok", a status of a trial, "illegal", or "not measured" (the budget ended).
  std::string outcome, reason;
  double boundUs = 0;
  /// The best measurement, if there is one.
  std::optional<rt::Trial> trial;
};

struct ProblemReport {
  /// For whom: "dense seq_len=8192 head_dim=128".
  std::string subject, kernel;
  rt::Problem problem;
  std::string defaultSchedule;
  std::vector<CandidateReport> candidates;
  /// What the database answers now.
  std::optional<rt::Trial> chosen;
  /// Why there is no choice, "" if there is one.
  std::string failure;
  size_t measured = 0, reused = 0, compiled = 0;
  /// The budget ended before the default was measured.
  bool leftOut = false;
};

/// Tunes kernels and keeps what it learns in a database. Used by one thread.
class TuneSession {
public:
  TuneSession(const TuneOptions &options, const std::string &database, const std::string &scratch);
  ~TuneSession();

  const rt::DeviceClass &device() const { return deviceClass; }
  /// Tunes kernel `kernel` of the subject, which is prepared once something must
  /// be compiled. `left` counts the problems that the rest of the budget is for,
  /// this one included.
  ProblemReport tune(TuneSubject &subject, const TunableKernel &kernel, size_t left);
  /// Seconds until nothing more may run: the budget's end, less what the report takes.
  double secondsLeft() const;
  /// Seconds of the budget that are gone.
  double secondsSpent() const;

private:
  struct Work;

  void describeDevice();
  void store(rt::RecordKind kind, const rt::Trial &trial);
  rt::Trial makeTrial(const Work &work, size_t candidate) const;
  bool mayServe(const rt::Trial &trial, const std::string &baseline) const;
  const rt::Trial *findKnown(const rt::Trial &trial, rt::TrialStage stage) const;
  void findKnownScreens(Work &work) const;
  bool crashedTooOften(const rt::Trial &trial) const;
  void listCandidates(Work &work);
  void judge(Work &work, double share);
  void show(const Work &work, const std::string &what, bool always = false);

  // TuneScreen.cpp.
  bool isTimeFor(double seconds) const { return secondsLeft() >= seconds && !isInterrupted(); }
  double trialSeconds(const Work &work) const;
  bool makeReady(Work &work);
  void submitCompile(Work &work, size_t candidate);
  std::optional<WorkerReply> compile(Work &work, size_t candidate);
  void screen(Work &work, double until);
  bool screenNext(Work &work, size_t candidate);
  void screenOne(Work &work, size_t candidate);
  void adopt(Work &work, size_t candidate, const rt::Trial &known);
  bool prune(Work &work, size_t candidate);
  void finish(Work &work, size_t candidate, rt::Trial trial);
  WorkerReply measure(Work &work, Json job, double limit, const std::string &what);
  void race(Work &work, const std::vector<size_t> &survivors, rt::TrialStage stage, double seconds);
  void raceNow(Work &work, const std::vector<size_t> &field, std::vector<rt::Trial> &trials, rt::TrialStage stage,
               double seconds);
  std::vector<size_t> rank(const Work &work) const;

  TuneOptions options;
  std::string scratch;
  TuneOptions::Clock::time_point deadline;
  rt::Database database;
  std::optional<rt::Journal> journal;
  std::string folder, run, build;
  rt::DeviceClass deviceClass;
  double clockKhz = 0;
  /// Seconds of the shortest preparation and trial so far, 0 without one.
  double leastPreparation = 0, leastTrial = 0;
  TuneOptions::Clock::time_point lastLine;
  bool terminal;
};

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_TUNESESSION_H

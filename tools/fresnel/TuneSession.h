//===- TuneSession.h - Tuning one kernel after another ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_TUNESESSION_H
#define FRESNEL_TOOLS_TUNESESSION_H

#include "TuneSubject.h"
#include "fresnel/Tuning/Journal.h"
#include "fresnel/Tuning/Selection.h"

namespace fresnel::tool {

struct TuneOptions {
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
  size_t measured = 0, reused = 0;
  /// The budget ended before the default was measured.
  bool leftOut = false;
};

/// Tunes kernels and keeps what it learns in a database. Used by one thread.
class TuneSession {
public:
  TuneSession(const TuneOptions &options, const std::string &database, const std::string &scratch);
  ~TuneSession();

  const rt::DeviceClass &device() const { return deviceClass; }
  /// Tunes kernel `kernel` of the subject. `left` counts the problems that the
  /// rest of the budget is for, this one included.
  ProblemReport tune(const TuneSubject &subject, const TunableKernel &kernel, size_t left);
  double secondsLeft() const;

private:
  struct Work;

  void describeDevice();
  void store(rt::RecordKind kind, const rt::Trial &trial);
  rt::Trial makeTrial(const Work &work, size_t candidate) const;
  const rt::Trial *findKnown(const Work &work, const rt::Trial &trial, rt::TrialStage stage) const;
  bool crashedTooOften(const rt::Trial &trial) const;
  void submitCompiles(Work &work, size_t upTo);
  void screen(Work &work, double until);
  void screenOne(Work &work, size_t candidate);
  bool prune(Work &work, size_t candidate);
  void finish(Work &work, size_t candidate, rt::Trial trial);
  void race(Work &work, const std::vector<size_t> &survivors, rt::TrialStage stage, double seconds);
  std::vector<size_t> rank(const Work &work) const;
  void show(const Work &work, const std::string &what, bool always = false);

  TuneOptions options;
  std::string scratch;
  std::chrono::steady_clock::time_point start;
  rt::Database database;
  std::optional<rt::Journal> journal;
  std::string folder, run;
  rt::DeviceClass deviceClass;
  double clockKhz = 0;
  std::chrono::steady_clock::time_point lastLine;
  bool terminal;
};

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_TUNESESSION_H

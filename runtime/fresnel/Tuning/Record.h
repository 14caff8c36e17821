//===- Record.h - What the tuner learned about one schedule of one kernel
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A record is one line of JSON and says everything about itself, so that any
// set of lines from any machines is a tuning database. Its canonical text (keys
// sorted, no spaces) is its identity.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TUNING_RECORD_H
#define FRESNEL_TUNING_RECORD_H

#include "fresnel/Artifact/Status.h"
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace fresnel::rt {

/// The schema that is written; readers refuse other major versions.
constexpr const char *kTuningSchema = "fresnel.trial/1";

/// The canonical form of a JSON object; Integrity unless `text` is one.
Expected<std::string> canonicalJson(std::string_view text);

/// What a kernel computes, as the compiler describes it:
/// {"op": ..., "operands": [{"dtype", "shape"}, ...], "attributes": {...}}.
struct Problem {
  /// Canonical JSON; the key of exact lookups.
  std::string key;
  /// The key without its sequence lengths: problems of one family differ in nothing else.
  std::string family;
  /// Dimension 2 of the operands of rank 3 and more, and the attribute `seq_len`.
  std::vector<int64_t> lengths;
};
Expected<Problem> parseProblem(std::string_view json);

/// "fresnel.attend bf16 1x8x8192x128, 1x8x8192x128, ..." for tables.
std::string describe(const Problem &problem);

/// GPUs between which timings carry over. A serial number is no part of it.
struct DeviceClass {
  std::string name;
  /// Compute capability, major * 10 + minor.
  int compute = 0;
  int multiprocessors = 0;

  bool operator==(const DeviceClass &other) const {
    return name == other.name && compute == other.compute && multiprocessors == other.multiprocessors;
  }
  bool operator<(const DeviceClass &other) const {
    return std::tie(name, compute, multiprocessors) < std::tie(other.name, other.compute, other.multiprocessors);
  }
};

/// How a trial ended. Only Ok has a timing, and only after verification.
enum class TrialStatus { Ok, Pruned, CompileError, LoadError, WrongResult, Fault, Timeout, OutOfMemory, Crashed };
const char *nameOf(TrialStatus status);

/// Screen: alone against the baseline. Halving and Final: in rounds with the other survivors.
enum class TrialStage { Screen, Halving, Final };
const char *nameOf(TrialStage stage);

/// Microseconds of one launch.
struct Timing {
  double median = 0, p20 = 0, p80 = 0;
  int64_t count = 0;
  /// Median over the rounds of this time by the baseline's of the same round; free of clock drift.
  double relative = 1;
};

/// Relative L2 distances: from the oracle at a small length, from the baseline's
/// result at full length. Negative where that was not compared.
struct Verification {
  double oracle = -1, baseline = -1;
};

/// One measured, rejected or failed schedule.
struct Trial {
  /// Names the process that measured.
  std::string run;
  Problem problem;
  DeviceClass device;
  /// SHA-256 of the PTX, its entry named `kernel`; empty if it was not compiled.
  std::string kernel;
  /// Canonical JSON objects.
  std::string schedule, baseline = "{}";
  TrialStatus status = TrialStatus::Ok;
  TrialStage stage = TrialStage::Screen;
  /// Why the status is not Ok.
  std::string reason;
  Verification verified;
  Timing us;
  /// SM clock in MHz while it was measured, 0 if unknown, and rounds dropped because the clock was throttled.
  int64_t clockLow = 0, clockHigh = 0, throttled = 0;
  /// Versions of the compiler.
  std::string compiler;
  /// Which build of it, and what it compiled for; empty if unknown. With the problem and the schedule they determine
  /// the code, so that a tuner need not compile to know what was tried.
  std::string build, target;
  /// Members that this version does not know, as a JSON object or "": what a newer one measured is kept.
  std::string unknown;
};

/// `Begin` goes in front of each trial, so that one that takes the machine down leaves a trace. `Stopped` takes that
/// back: the tuner itself ended the trial, as its time was over.
enum class RecordKind { Begin, Trial, Stopped };

struct Record {
  RecordKind kind = RecordKind::Trial;
  /// Begin and Stopped fill run, problem, device, kernel and schedule only.
  Trial trial;
};

/// Canonical JSON, without a newline.
std::string toJson(const Record &record);

/// Reads and validates a line; errors say which member is wrong. Unsupported for a newer schema.
Expected<Record> parseRecord(std::string_view line);

} // namespace fresnel::rt

#endif // FRESNEL_TUNING_RECORD_H

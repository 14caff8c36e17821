//===- Bench.h - What a benchmark measures ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_BENCH_H
#define FRESNEL_TOOLS_BENCH_H

#include "Common.h"
#include "Tensors.h"

#include "fresnel/Artifact/Bundle.h"
#include "fresnel/Runtime/Plan.h"

#include <map>
#include <optional>

namespace fresnel::tool {

/// Microseconds of one launch.
struct Spread {
  double median = 0, p20 = 0, p80 = 0;
  size_t count = 0;
};
Spread summarise(const std::vector<double> &microseconds);

/// What this GPU reaches at best, measured on it.
struct Ceilings {
  /// Bytes per second of a device copy, read and written ones counted.
  double copy = 0;
  int64_t copyBytes = 0;
  /// FLOP per second of a kernel that does nothing but matrix products.
  double matrix = 0;
  /// Its operation: tile.wgmma or tile.mma.
  std::string matrixOp;
};
Ceilings measureCeilings(const std::shared_ptr<rt::Driver> &driver, int device, const std::string &target);

/// One output of the run before anything was timed.
struct OutputCheck {
  std::string output;
  /// Why the benchmark is void; "" if it is not.
  std::string problem;
  /// From the oracle, where it was asked; else -1.
  double relativeL2 = -1;
  /// Of two runs from each other, where their bits differ and may: a kernel adds in any order; else -1.
  double betweenRuns = -1;
};

struct StepTime {
  std::string kernel, op;
  std::optional<rt::Cost> cost;
  Spread us;
};

/// Forward or backward.
struct PlanTimes {
  std::string name;
  std::vector<StepTime> steps;
  /// "plain": one launch after the other; "dependent": kernels start early and wait
  /// by themselves; "graph": the launch of the plan as a CUDA graph.
  std::map<std::string, Spread> whole;
  int64_t workspaceBytes = 0;

  double sumOfSteps() const;
};

struct BenchOptions {
  int device = 0;
  int samples = 21;
  bool sequenceMajor = true;
};

struct BenchResult {
  rt::DeviceInfo device;
  std::vector<OutputCheck> checks;
  Ceilings ceilings;
  std::vector<PlanTimes> plans;
  int64_t savedBytes = 0, flushBytes = 0;
  /// Of two events with nothing between them.
  Spread nothing;
  /// SM clock while timing, 0 where it is unknown.
  int64_t clockLow = 0, clockHigh = 0, throttled = 0;

  bool ok() const;
};

/// Runs the plans twice over different poison, and only if every output is written,
/// finite and the same in both (and near `expected`, if there is any) times them.
BenchResult measureBench(const rt::Bundle &bundle, const BenchOptions &options, const std::vector<HostTensor> &inputs,
                         const std::vector<HostTensor> &expected);

/// Shares of the ceilings that a step reached.
struct Shares {
  double bytesPerSecond = 0, flopsPerSecond = 0, ofCopy = 0, ofMatrix = 0;
  /// The time that the nearer ceiling allows as a part of the one taken.
  double ofRoof = 0;
};
/// Zeros for a step without a cost or a time.
Shares computeShares(const StepTime &step, const Ceilings &ceilings);

std::string benchText(const std::string &method, const BenchResult &result);
Json benchJson(const std::string &method, const BenchResult &result);
/// A page with the roofline as SVG and the tables; needs no other file.
std::string benchHtml(const std::string &method, const BenchResult &result);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_BENCH_H

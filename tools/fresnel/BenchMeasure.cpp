//===- BenchMeasure.cpp - Check, then time, the plans of a bundle -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Bench.h"
#include "BenchFlush.h"
#include "Clocks.h"
#include "DeviceTensors.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <optional>

namespace fresnel::tool {

Spread summarise(const std::vector<double> &microseconds) {
  return {quantile(microseconds, 0.5), quantile(microseconds, 0.2), quantile(microseconds, 0.8), microseconds.size()};
}

double PlanTimes::sumOfSteps() const {
  double sum = 0;
  for (const StepTime &step : steps)
    sum += step.us.median;
  return sum;
}

bool BenchResult::ok() const {
  return std::all_of(checks.begin(), checks.end(), [](const OutputCheck &check) { return check.problem.empty(); });
}

namespace {
/// One plan with all that its launches need.
struct Part {
  std::string name;
  const rt::PlanHandle *plan = nullptr;
  std::vector<rt::TensorArg> args;
  rt::LaunchMemory memory;

  void launch(rt::CuStream stream) const { check(plan->launch(args.data(), args.size(), memory, stream)); }
};

/// Two events around a stretch of a stream.
class Timer {
public:
  explicit Timer(const rt::Driver &driver) : driver(driver) {
    check(driver.check(driver.cuEventCreate(&begin, 0), "cuEventCreate"));
    check(driver.check(driver.cuEventCreate(&end, 0), "cuEventCreate"));
  }
  Timer(const Timer &) = delete;
  ~Timer() {
    driver.cuEventDestroy(begin);
    driver.cuEventDestroy(end);
  }

  template <typename Work>
  double microseconds(rt::CuStream stream, Work work) {
    check(driver.check(driver.cuEventRecord(begin, stream), "cuEventRecord"));
    work();
    check(driver.check(driver.cuEventRecord(end, stream), "cuEventRecord"));
    check(driver.check(driver.cuEventSynchronize(end), "running the kernels"));
    float milliseconds = 0;
    check(driver.check(driver.cuEventElapsedTime(&milliseconds, begin, end), "cuEventElapsedTime"));
    return double(milliseconds) * 1e3;
  }

private:
  const rt::Driver &driver;
  rt::CuEvent begin = nullptr, end = nullptr;
};

/// A plan's launch as a graph.
class Graph {
public:
  Graph(const rt::Driver &driver, const Part &part, rt::CuStream stream) : driver(driver) {
    // Relaxed: nothing here depends on what other threads do meanwhile.
    check(driver.check(driver.cuStreamBeginCapture(stream, 2), "cuStreamBeginCapture"));
    part.launch(stream);
    check(driver.check(driver.cuStreamEndCapture(stream, &graph), "capturing the " + part.name + " plan"));
    check(driver.check(driver.cuGraphInstantiateWithFlags(&exec, graph, 0), "cuGraphInstantiate"));
  }
  Graph(const Graph &) = delete;
  ~Graph() {
    driver.cuGraphExecDestroy(exec);
    driver.cuGraphDestroy(graph);
  }

  void launch(rt::CuStream stream) const { check(driver.check(driver.cuGraphLaunch(exec, stream), "cuGraphLaunch")); }

private:
  const rt::Driver &driver;
  rt::CuGraph graph = nullptr;
  rt::CuGraphExec exec = nullptr;
};

/// A bundle on the GPU, with a stream of its own: the default one cannot be captured.
class Bench {
public:
  Bench(const rt::Bundle &bundle, const BenchOptions &options, const std::vector<HostTensor> &inputs);
  ~Bench() { driver->cuStreamDestroy(stream); }

  BenchResult run(const std::vector<HostTensor> &expected);

private:
  std::vector<HostTensor> runPoisoned(unsigned char byte);
  std::vector<OutputCheck> checkOutputs(const std::vector<HostTensor> &expected);
  void time(BenchResult &result);
  void timePart(BenchResult &result, const Part &part, Clocks &clocks);
  std::shared_ptr<rt::Driver> driver;
  std::unique_ptr<rt::ContextScope> context;
  rt::LoadedPlan plan;
  BenchOptions options;
  DeviceTensors tensors;
  std::vector<Part> parts;
  rt::DeviceBuffer workspace, saved;
  int64_t workspaceBytes = 0;
  std::optional<BenchFlush> flush;
  rt::CuStream stream = nullptr;
};
} // namespace

Bench::Bench(const rt::Bundle &bundle, const BenchOptions &options, const std::vector<HostTensor> &inputs)
    : driver(loadDriver(options.device)), context(unwrap(rt::ContextScope::enter(driver, options.device))),
      plan(unwrap(rt::LoadedPlan::load(driver, bundle, options.device))), options(options),
      tensors(driver, options.sequenceMajor) {
  for (const std::string &warning : plan.warnings())
    std::cerr << "warning: " << warning << "\n";
  parts.push_back({"forward", &plan.forward(), {}, {}});
  if (plan.hasBackward())
    parts.push_back({"backward", unwrap(plan.backward()), {}, {}});
  for (Part &part : parts) {
    tensors.add(*part.plan, inputs);
    workspaceBytes = std::max(workspaceBytes, part.plan->workspaceBytes());
  }
  workspace = unwrap(rt::DeviceBuffer::allocate(driver, size_t(workspaceBytes)));
  saved = unwrap(rt::DeviceBuffer::allocate(driver, size_t(plan.savedBytes())));
  for (Part &part : parts) {
    part.args = tensors.arguments(*part.plan);
    part.memory = {workspace.data(), workspaceBytes, saved.data(), plan.savedBytes()};
  }
  check(driver->check(driver->cuStreamCreate(&stream, 0), "cuStreamCreate"));
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

std::vector<HostTensor> Bench::runPoisoned(unsigned char byte) {
  tensors.poison(byte);
  check(workspace.fill(byte, size_t(workspaceBytes)));
  check(saved.fill(byte, size_t(plan.savedBytes())));
  for (const Part &part : parts)
    part.launch(stream);
  check(driver->check(driver->cuCtxSynchronize(), "running the kernels"));
  return tensors.download();
}

static int64_t countNan(const HostTensor &tensor) {
  if (rt::isInteger(tensor.dtype))
    return 0;
  std::vector<float> values = toFloats(tensor);
  return std::count_if(values.begin(), values.end(), [](float value) { return std::isnan(value); });
}

/// Elements of which a byte differs.
static int64_t countDifferent(const HostTensor &a, const HostTensor &b) {
  int64_t size = elementBytes(a.dtype), different = 0;
  for (size_t at = 0; at < a.data.size(); at += size_t(size))
    different +=
        !std::equal(a.data.begin() + int64_t(at), a.data.begin() + int64_t(at) + size, b.data.begin() + int64_t(at));
  return different;
}

/// Whether a kernel may give other bits in every run.
static bool addsInAnyOrder(const rt::Manifest &manifest) {
  return std::any_of(manifest.kernels.begin(), manifest.kernels.end(),
                     [](const rt::Kernel &kernel) { return !Json::parse(kernel.schedule).value("ordered", true); });
}

/// Compares two runs over different poison, which differ in `different` elements; the problem, or "".
static std::string compareRuns(const HostTensor &first, const HostTensor &second, int64_t different, bool anyOrder,
                               double tolerance, OutputCheck &entry) {
  Comparison difference;
  if (anyOrder && !rt::isInteger(first.dtype))
    difference = compare(first, second);
  if (!anyOrder || rt::isInteger(first.dtype) || difference.nonFinite > 0 || difference.relativeL2 > tolerance)
    return std::to_string(different) + " of " + std::to_string(first.elements()) +
           " elements are not written, or differ from run to run";
  entry.betweenRuns = difference.relativeL2;
  return "";
}

/// Compares with the oracle; the problem, or "".
static std::string compareWithOracle(const HostTensor &got, const std::vector<HostTensor> &expected, double tolerance,
                                     double &relativeL2) {
  auto want = std::find_if(expected.begin(), expected.end(), [&](const HostTensor &e) { return e.name == got.name; });
  if (want == expected.end())
    return "";
  Comparison difference = compare(got, *want);
  relativeL2 = difference.relativeL2;
  if (difference.mismatches > 0)
    return std::to_string(difference.mismatches) + " indices differ from the oracle's";
  if (difference.nonFinite > 0)
    return std::to_string(difference.nonFinite) + " elements are finite on one side only, here or in the oracle";
  char text[96];
  std::snprintf(text, sizeof text, "relative L2 %.2e from the oracle, the limit is %.0e", relativeL2, tolerance);
  return relativeL2 <= tolerance ? "" : text;
}

std::vector<OutputCheck> Bench::checkOutputs(const std::vector<HostTensor> &expected) {
  Progress progress("running " + plan.manifest().name + " twice over different poison");
  // NaN bytes, then finite ones: what no kernel writes differs.
  std::vector<HostTensor> first = runPoisoned(0xFF), second = runPoisoned(0x55);
  double tolerance = oracleTolerance(plan.manifest().buffers.front().dtype);
  bool anyOrder = addsInAnyOrder(plan.manifest());
  std::vector<OutputCheck> checks;
  for (size_t i = 0; i < first.size(); ++i) {
    OutputCheck entry{first[i].name, ""};
    if (int64_t different = countDifferent(first[i], second[i]))
      entry.problem = compareRuns(first[i], second[i], different, anyOrder, tolerance, entry);
    int64_t nan = countNan(first[i]);
    if (entry.problem.empty() && nan > 0)
      entry.problem = std::to_string(nan) + " elements are NaN";
    else if (entry.problem.empty())
      entry.problem = compareWithOracle(first[i], expected, tolerance, entry.relativeL2);
    checks.push_back(entry);
  }
  return checks;
}

//===----------------------------------------------------------------------===//
// Times
//===----------------------------------------------------------------------===//

/// A row for each launch of a slice, with the times of all slices.
static std::vector<StepTime> joinSlices(const rt::Manifest &manifest, const std::vector<rt::Launch> &launches,
                                        std::vector<std::vector<double>> &samples) {
  const size_t slices = size_t(rt::countSlices(manifest.slices)), count = launches.size() / slices;
  std::vector<StepTime> steps;
  for (size_t i = 0; i < count; ++i) {
    for (size_t other = i + count; other < launches.size(); other += count)
      std::transform(samples[i].begin(), samples[i].end(), samples[other].begin(), samples[i].begin(), std::plus<>());
    const rt::Kernel &kernel = manifest.kernels[size_t(launches[i].kernel)];
    std::optional<rt::Cost> cost = kernel.cost;
    if (cost)
      for (int64_t *amount : {&cost->bytesRead, &cost->bytesWritten, &cost->flops})
        *amount *= int64_t(slices);
    steps.push_back({kernel.name, kernel.op, cost, summarise(samples[i])});
  }
  return steps;
}

void Bench::timePart(BenchResult &result, const Part &part, Clocks &clocks) {
  const rt::Manifest &manifest = plan.manifest();
  const std::vector<rt::Launch> &launches = part.plan->plan().launches;
  Timer timer(*driver);
  std::vector<std::vector<double>> steps(launches.size());
  std::map<std::string, std::vector<double>> whole;
  std::vector<double> nothing;
  auto getWritten = [&](size_t i) {
    const std::optional<rt::Cost> &cost = manifest.kernels[size_t(launches[i].kernel)].cost;
    return cost ? cost->bytesWritten : flush->getBytes();
  };
  auto launchStep = [&](size_t i) { check(part.plan->launchStep(i, part.args.data(), part.memory, stream)); };
  auto launchPlain = [&] {
    check(part.plan->clear(part.memory, stream));
    for (size_t i = 0; i < launches.size(); ++i)
      launchStep(i);
  };
  bool dependent = launches.size() > 1 && std::any_of(launches.begin() + 1, launches.end(), [&](const auto &launch) {
                     return manifest.kernels[size_t(launch.kernel)].dependentLaunch;
                   });
  Graph graph(*driver, part, stream);
  auto sample = [&](std::vector<double> &samples, bool counts, int64_t written, auto work) {
    flush->run(written, stream);
    double us = timer.microseconds(stream, work);
    if (counts)
      samples.push_back(us);
  };
  // The first two rounds warm up and are not counted.
  for (int round = -2; round < options.samples; ++round) {
    bool counts = round >= 0 && !(clocks.isThrottled() && result.throttled < options.samples);
    result.throttled += round >= 0 && !counts;
    sample(nothing, counts, 0, [] {});
    // In the plan's order: temporaries share memory, so a step finds its inputs only there.
    check(part.plan->clear(part.memory, stream));
    for (size_t i = 0; i < launches.size(); ++i)
      sample(steps[i], counts, getWritten(i), [&] { launchStep(i); });
    sample(whole["plain"], counts, flush->getBytes(), launchPlain);
    if (dependent)
      sample(whole["dependent"], counts, flush->getBytes(), [&] { part.launch(stream); });
    sample(whole["graph"], counts, flush->getBytes(), [&] { graph.launch(stream); });
    if (int64_t clock = clocks.read(); counts && clock > 0) {
      result.clockLow = result.clockLow ? std::min(result.clockLow, clock) : clock;
      result.clockHigh = std::max(result.clockHigh, clock);
    }
  }
  PlanTimes times;
  times.name = part.name;
  times.workspaceBytes = part.plan->workspaceBytes();
  times.steps = joinSlices(manifest, launches, steps);
  for (const auto &[mode, samples] : whole)
    times.whole[mode] = summarise(samples);
  result.nothing = summarise(nothing);
  result.plans.push_back(std::move(times));
}

void Bench::time(BenchResult &result) {
  flush.emplace(driver, options.device, plan.manifest().target.name);
  result.flushBytes = flush->getBytes();
  char busId[32] = {};
  driver->cuDeviceGetPCIBusId(busId, sizeof busId - 1, options.device);
  Clocks clocks(busId);
  Progress progress("timing " + plan.manifest().name);
  for (const Part &part : parts)
    timePart(result, part, clocks);
}

BenchResult Bench::run(const std::vector<HostTensor> &expected) {
  BenchResult result;
  result.device = unwrap(driver->describe(options.device));
  result.savedBytes = plan.savedBytes();
  result.checks = checkOutputs(expected);
  if (!result.ok())
    return result;
  time(result);
  flush.reset();
  result.ceilings = measureCeilings(driver, options.device, plan.manifest().target.name);
  return result;
}

BenchResult measureBench(const rt::Bundle &bundle, const BenchOptions &options, const std::vector<HostTensor> &inputs,
                         const std::vector<HostTensor> &expected) {
  return Bench(bundle, options, inputs).run(expected);
}

} // namespace fresnel::tool

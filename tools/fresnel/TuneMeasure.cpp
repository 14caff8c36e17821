//===- TuneMeasure.cpp - A worker's time on the GPU: check, then measure ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Clocks.h"
#include "Common.h"
#include "Execute.h"
#include "TuneWorker.h"

#include "fresnel/Artifact/Safetensors.h"
#include "fresnel/Runtime/Plan.h"

#include <algorithm>
#include <set>

namespace fresnel::tool {

// Values of cuda.h.
static constexpr int kClockRate = 13, kL2Bytes = 38;

static void check(const rt::Status &status, rt::TrialStatus otherwise) {
  if (!status.ok())
    throw TrialFailure{status.code() == rt::Code::OutOfMemory ? rt::TrialStatus::OutOfMemory : otherwise,
                       status.message()};
}

template <typename T>
static T unwrap(rt::Expected<T> value, rt::TrialStatus otherwise = rt::TrialStatus::LoadError) {
  check(value.status(), otherwise);
  return std::move(*value);
}

static int attribute(const rt::Driver &driver, int which, int device) {
  int value = 0;
  return driver.cuDeviceGetAttribute(&value, which, device) == 0 ? value : 0;
}

Json describeJob(const Json &job) {
  int device = job.at("device");
  auto driver = unwrap(rt::Driver::load());
  int count = unwrap(driver->countDevices());
  if (device >= count)
    fail(ExitEnvironment, "there is no GPU " + std::to_string(device) + "; the driver has " + std::to_string(count));
  rt::DeviceInfo info = unwrap(driver->describe(device));
  return {{"status", "ok"},
          {"name", info.name},
          {"compute", info.computeMajor * 10 + info.computeMinor},
          {"multiprocessors", info.multiprocessors},
          {"clock_khz", attribute(*driver, kClockRate, device)}};
}

//===----------------------------------------------------------------------===//
// Tensors on the device
//===----------------------------------------------------------------------===//

namespace {
struct PooledTensor {
  rt::DeviceBuffer memory;
  rt::Buffer buffer;
  std::vector<int64_t> strides;
};

/// The tensors of a method by name; plans that were cut from one share them.
class Pool {
public:
  Pool(std::shared_ptr<rt::Driver> driver, std::set<std::string> sequenceMajor, uint64_t seed)
      : driver(std::move(driver)), sequenceMajor(std::move(sequenceMajor)), seed(seed) {}

  /// Random values for an input that no plan has produced.
  PooledTensor &get(const rt::Buffer &buffer);
  void poison(const rt::Manifest &manifest);
  HostTensor download(const std::string &name);

private:
  std::shared_ptr<rt::Driver> driver;
  std::set<std::string> sequenceMajor;
  uint64_t seed;
  std::map<std::string, PooledTensor> tensors;
};

/// A loaded plan with its arguments and workspace.
struct Variant {
  rt::LoadedPlan plan;
  std::vector<rt::TensorArg> arguments;
  rt::DeviceBuffer workspace;

  void launch() {
    check(plan.launch(arguments.data(), arguments.size(), workspace.data(), plan.workspaceBytes(), nullptr),
          rt::TrialStatus::Fault);
  }
};
} // namespace

PooledTensor &Pool::get(const rt::Buffer &buffer) {
  auto [entry, added] = tensors.try_emplace(buffer.name);
  PooledTensor &tensor = entry->second;
  if (!added)
    return tensor;
  tensor.buffer = buffer;
  tensor.strides.assign(buffer.shape.size(), 1);
  for (size_t d = buffer.shape.size(); d-- > 1;)
    tensor.strides[d - 1] = tensor.strides[d] * buffer.shape[d];
  if (sequenceMajor.count(buffer.name)) {
    tensor.strides[1] = buffer.shape[3];
    tensor.strides[2] = buffer.shape[3] * buffer.shape[1];
  }
  tensor.memory = unwrap(rt::DeviceBuffer::allocate(driver, size_t(buffer.bytes())));
  if (buffer.kind != rt::BufferKind::Input)
    return tensor;
  if (rt::isInteger(buffer.dtype))
    fail(ExitInternal, "input '" + buffer.name + "' holds indices, which only a plan can make");
  HostTensor values = randomTensor(buffer.name, buffer.dtype, buffer.shape, seed);
  check(tensor.memory.upload(values.data.data(), values.data.size()), rt::TrialStatus::LoadError);
  return tensor;
}

void Pool::poison(const rt::Manifest &manifest) {
  // NaN in every floating-point type: an element that no kernel writes shows.
  for (const rt::Buffer &buffer : manifest.buffers)
    if (buffer.kind == rt::BufferKind::Output)
      check(get(buffer).memory.fill(0xFF, size_t(buffer.bytes())), rt::TrialStatus::LoadError);
}

HostTensor Pool::download(const std::string &name) {
  PooledTensor &tensor = tensors.at(name);
  HostTensor host{name, tensor.buffer.dtype, tensor.buffer.shape, {}};
  host.data.resize(size_t(tensor.buffer.bytes()));
  check(tensor.memory.download(host.data.data(), host.data.size()), rt::TrialStatus::Fault);
  return host;
}

static Variant load(const std::shared_ptr<rt::Driver> &driver, const std::string &path, int device, Pool &pool) {
  rt::Bundle bundle = openBundle(path);
  Variant variant{unwrap(rt::LoadedPlan::load(driver, std::move(bundle), device)), {}, {}};
  const rt::Manifest &manifest = variant.plan.manifest();
  for (size_t index : variant.plan.arguments()) {
    const rt::Buffer &buffer = manifest.buffers[index];
    PooledTensor &tensor = pool.get(buffer);
    variant.arguments.push_back({tensor.memory.data(), buffer.dtype, tensor.buffer.shape.data(), tensor.strides.data(),
                                 int(tensor.strides.size())});
  }
  variant.workspace = unwrap(rt::DeviceBuffer::allocate(driver, size_t(manifest.workspaceBytes)));
  return variant;
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

/// The worst relative L2 of a plan's outputs; a failure beyond `tolerance`.
static double compareAll(const std::vector<HostTensor> &got, const std::vector<HostTensor> &want, double tolerance,
                         const std::string &against) {
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    auto found = std::find_if(got.begin(), got.end(), [&](const HostTensor &g) { return g.name == want[i].name; });
    if (found == got.end())
      throw TrialFailure{rt::TrialStatus::WrongResult, "there is no output '" + want[i].name + "'"};
    Comparison difference = compare(*found, want[i]);
    char text[96];
    std::snprintf(text, sizeof text, "relative L2 %.2e (limit %.0e), %lld non-finite, %lld indices differ",
                  difference.relativeL2, tolerance, static_cast<long long>(difference.nonFinite),
                  static_cast<long long>(difference.mismatches));
    bool same = rt::isInteger(want[i].dtype) ? difference.mismatches == 0
                                             : difference.relativeL2 <= tolerance && difference.nonFinite == 0;
    if (!same)
      throw TrialFailure{rt::TrialStatus::WrongResult, "'" + want[i].name + "' against " + against + ": " + text};
    worst = std::max(worst, difference.relativeL2);
  }
  return worst;
}

/// Tensors of a file whose names begin with `prefix`, in logical order.
static std::vector<HostTensor> takeTensors(const rt::Safetensors &file, const std::string &prefix) {
  std::vector<HostTensor> tensors;
  for (const auto &[name, tensor] : file.tensors)
    if (name.rfind(prefix, 0) == 0)
      tensors.push_back(
          {name.substr(prefix.size()), tensor.dtype, tensor.shape, {tensor.data.begin(), tensor.data.end()}});
  return tensors;
}

/// Runs the plan at the checked length and compares with what the oracle computed.
static double checkAgainstOracle(const Json &job, int device) {
  rt::Safetensors file = unwrap(rt::readSafetensors(job.at("oracle")));
  double seconds = 0;
  std::vector<HostTensor> got;
  try {
    got = runOnGpu(openBundle(job.at("check")), device, true, takeTensors(file, "in."), 0, seconds);
  } catch (const Failure &failure) {
    throw TrialFailure{rt::TrialStatus::Fault, "at the checked length: " + failure.message};
  }
  return compareAll(got, takeTensors(file, "out."), job.at("tolerance"), "the oracle");
}

/// Runs every variant once and compares its outputs with the first one's.
static std::vector<double> checkAgainstBaseline(std::vector<Variant> &variants, Pool &pool, const rt::Driver &driver,
                                                double tolerance) {
  std::vector<double> errors;
  std::vector<HostTensor> want;
  for (Variant &variant : variants) {
    const rt::Manifest &manifest = variant.plan.manifest();
    pool.poison(manifest);
    variant.launch();
    check(driver.check(driver.cuCtxSynchronize(), "running the kernel"), rt::TrialStatus::Fault);
    std::vector<HostTensor> got;
    for (const rt::Buffer &buffer : manifest.buffers)
      if (buffer.kind == rt::BufferKind::Output)
        got.push_back(pool.download(buffer.name));
    if (want.empty())
      want = got;
    errors.push_back(compareAll(got, want, tolerance, "the default schedule"));
  }
  return errors;
}

//===----------------------------------------------------------------------===//
// Timing
//===----------------------------------------------------------------------===//

namespace {
/// Events of one launch.
struct Span {
  rt::CuEvent begin = nullptr, end = nullptr;
};

struct Samples {
  /// Microseconds, by round and variant.
  std::vector<std::vector<double>> rounds;
  int64_t clockLow = 0, clockHigh = 0, throttled = 0;
};
} // namespace

/// Rounds in which every variant runs once, each after L2 was overwritten.
static Samples timeRounds(std::vector<Variant> &variants, const std::shared_ptr<rt::Driver> &driver, int device,
                          double seconds, int64_t most) {
  constexpr int64_t kLeastRounds = 5;
  constexpr auto kFault = rt::TrialStatus::Fault;
  char busId[32] = {};
  driver->cuDeviceGetPCIBusId(busId, sizeof busId - 1, device);
  Clocks clocks(busId);
  size_t flushBytes = std::max<size_t>(2 * size_t(attribute(*driver, kL2Bytes, device)), 64u << 20);
  rt::DeviceBuffer flush = unwrap(rt::DeviceBuffer::allocate(driver, flushBytes));
  std::vector<Span> spans(variants.size());
  for (Span &span : spans)
    for (rt::CuEvent *event : {&span.begin, &span.end})
      check(driver->check(driver->cuEventCreate(event, 0), "cuEventCreate"), kFault);
  Samples samples;
  auto start = std::chrono::steady_clock::now();
  auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  // The first two rounds warm up and are not counted.
  for (int64_t round = -2; round < most && (round < kLeastRounds || elapsed() < seconds); ++round) {
    for (size_t i = 0; i < variants.size(); ++i) {
      // Every round starts with another one: nobody always follows the same neighbour's heat.
      size_t at = (i + size_t(round + 2)) % variants.size();
      check(driver->check(driver->cuMemsetD8Async(reinterpret_cast<uint64_t>(flush.data()), 0, flushBytes, nullptr),
                          "overwriting L2"),
            kFault);
      check(driver->check(driver->cuEventRecord(spans[at].begin, nullptr), "cuEventRecord"), kFault);
      variants[at].launch();
      check(driver->check(driver->cuEventRecord(spans[at].end, nullptr), "cuEventRecord"), kFault);
    }
    check(driver->check(driver->cuCtxSynchronize(), "running the kernels"), kFault);
    if (round < 0)
      continue;
    // Far more rounds are dropped than kept only on a machine that cannot be measured on.
    if (clocks.isThrottled() && samples.throttled < most / 2) {
      ++samples.throttled;
      continue;
    }
    std::vector<double> times;
    for (Span &span : spans) {
      float milliseconds = 0;
      check(driver->check(driver->cuEventElapsedTime(&milliseconds, span.begin, span.end), "cuEventElapsedTime"),
            kFault);
      times.push_back(double(milliseconds) * 1e3);
    }
    samples.rounds.push_back(times);
    int64_t clock = clocks.read();
    samples.clockLow = samples.clockLow ? std::min(samples.clockLow, clock) : clock;
    samples.clockHigh = std::max(samples.clockHigh, clock);
  }
  return samples;
}

static Json summarise(const Samples &samples, size_t variant) {
  std::vector<double> times, ratios;
  for (const std::vector<double> &round : samples.rounds) {
    times.push_back(round[variant]);
    ratios.push_back(round[0] > 0 ? round[variant] / round[0] : 0);
  }
  return {{"median", quantile(times, 0.5)},
          {"p20", quantile(times, 0.2)},
          {"p80", quantile(times, 0.8)},
          {"count", times.size()},
          {"relative", quantile(ratios, 0.5)}};
}

//===----------------------------------------------------------------------===//
// The job
//===----------------------------------------------------------------------===//

Json measureJob(const Json &job) {
  int device = job.at("device");
  auto driver = unwrap(rt::Driver::load());
  auto context = unwrap(rt::ContextScope::enter(driver, device));
  double oracle = job.contains("check") ? checkAgainstOracle(job, device) : -1;
  Pool pool(driver, job.at("sequence_major").get<std::set<std::string>>(), job.at("seed"));
  if (job.contains("prefix")) {
    Variant prefix = load(driver, job.at("prefix"), device, pool);
    prefix.launch();
    check(driver->check(driver->cuCtxSynchronize(), "running the kernels before it"), rt::TrialStatus::Fault);
  }
  std::vector<Variant> variants;
  for (const Json &path : job.at("variants"))
    variants.push_back(load(driver, path, device, pool));
  std::vector<double> errors = checkAgainstBaseline(variants, pool, *driver, job.at("tolerance"));
  Samples samples = timeRounds(variants, driver, device, job.at("seconds"), job.at("rounds"));
  Json timings = Json::array();
  for (size_t i = 0; i < variants.size(); ++i) {
    timings.push_back(summarise(samples, i));
    timings.back()["error"] = errors[i];
  }
  return {{"status", "ok"},
          {"oracle", oracle},
          {"variants", timings},
          {"clock", {samples.clockLow, samples.clockHigh}},
          {"throttled", samples.throttled}};
}

} // namespace fresnel::tool

//===- LaunchDevice.cpp - What a launch costs beside the driver's own calls
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "LaunchDevice.h"
#include "fresnel/Runtime/Plan.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <list>

using namespace fresnel::rt;

// So few calls are in flight that the driver's queue never is what is timed.
static constexpr int kCalls = 64, kRounds = 200;
/// Changing tensors start at one of so many places, so far apart.
static constexpr int kPlaces = 64, kPlaceBytes = 256;

template <typename T>
static T unwrap(Expected<T> value) {
  if (value)
    return std::move(*value);
  std::fprintf(stderr, "launch-bench: %s\n", value.status().message().c_str());
  std::exit(1);
}

static void require(const Status &status) {
  if (status.ok())
    return;
  std::fprintf(stderr, "launch-bench: %s\n", status.message().c_str());
  std::exit(1);
}

namespace {
/// What a bundle's forward plan needs on the device. Tensors are contiguous and zero.
struct LoadedBundle {
  std::shared_ptr<Driver> driver;
  std::unique_ptr<ContextScope> context;
  std::optional<LoadedPlan> plan;
  std::vector<DeviceBuffer> memory;
  std::list<std::vector<int64_t>> strides;
  std::vector<TensorArg> arguments;
  LaunchMemory space;

  explicit LoadedBundle(const char *path);
  void launch(const std::vector<TensorArg> &args) const {
    require(plan->forward().launch(args.data(), args.size(), space, nullptr));
  }
};

/// The driver's calls of one launch, to be repeated.
struct Recording {
  struct alignas(64) Parameter {
    char bytes[128];
  };
  struct KernelCall {
    CuLaunchConfig config;
    CuLaunchAttribute attribute;
    CuKernel kernel;
    std::vector<Parameter> parameters;
    std::vector<void *> pointers;
  };
  struct ClearCall {
    uint64_t pointer;
    unsigned char value;
    size_t bytes;
  };
  std::vector<ClearCall> clears;
  std::list<KernelCall> kernels;
  size_t maps = 0;

  void repeat(const Driver &driver) {
    int error = 0;
    for (const ClearCall &call : clears)
      error |= driver.cuMemsetD8Async(call.pointer, call.value, call.bytes, nullptr);
    for (KernelCall &call : kernels)
      error |= driver.cuLaunchKernelEx(&call.config, call.kernel, call.pointers.data(), nullptr);
    require(driver.check(error, "repeating a launch"));
  }
};
} // namespace

LoadedBundle::LoadedBundle(const char *path)
    : driver(unwrap(Driver::load())), context(unwrap(ContextScope::enter(driver, 0))),
      plan(unwrap(LoadedPlan::load(driver, unwrap(readBundle(path)), 0))) {
  auto allocate = [&](int64_t bytes) {
    memory.push_back(unwrap(DeviceBuffer::allocate(driver, size_t(bytes))));
    require(memory.back().fill(0, size_t(bytes)));
    return memory.back().data();
  };
  for (size_t index : plan->arguments()) {
    const Buffer &buffer = plan->manifest().buffers[index];
    std::vector<int64_t> &dense = strides.emplace_back(buffer.shape.size(), 1);
    for (size_t d = dense.size(); d-- > 1;)
      dense[d - 1] = dense[d] * buffer.shape[d];
    arguments.push_back({allocate(buffer.bytes() + int64_t(kPlaces) * kPlaceBytes), buffer.dtype, buffer.shape.data(),
                         dense.data(), int(buffer.shape.size())});
  }
  space.workspaceBytes = std::max<int64_t>(plan->workspaceBytes(), 1);
  space.workspace = allocate(space.workspaceBytes);
  space.savedBytes = std::max<int64_t>(plan->savedBytes(), 1);
  space.saved = allocate(space.savedBytes);
}

// The driver's functions have no argument that could carry this.
static Recording *recording;
static const Plan *recordedPlan;
static const Manifest *recordedManifest;

static int recordLaunch(const CuLaunchConfig *config, CuKernel kernel, void **params, void **) {
  size_t index = recording->kernels.size();
  const Kernel &description = recordedManifest->kernels[size_t(recordedPlan->launches[index].kernel)];
  Recording::KernelCall &call = recording->kernels.emplace_back();
  call.config = *config;
  if (config->attributeCount > 0) {
    call.attribute = *config->attributes;
    call.config.attributes = &call.attribute;
  }
  call.kernel = kernel;
  call.parameters.resize(description.params.size());
  for (size_t i = 0; i < description.params.size(); ++i) {
    std::memcpy(call.parameters[i].bytes, params[i], description.params[i].kind == ParamKind::TensorMap ? 128 : 8);
    call.pointers.push_back(call.parameters[i].bytes);
  }
  return 0;
}

static int recordClear(uint64_t pointer, unsigned char value, size_t bytes, CuStream) {
  recording->clears.push_back({pointer, value, bytes});
  return 0;
}

static decltype(Driver::cuTensorMapEncodeTiled) encodeTiled;
static int recordMap(void *map, int type, uint32_t rank, void *address, const uint64_t *dims, const uint64_t *strides,
                     const uint32_t *box, const uint32_t *elementStrides, int interleave, int swizzle, int l2Promotion,
                     int fill) {
  ++recording->maps;
  return encodeTiled(map, type, rank, address, dims, strides, box, elementStrides, interleave, swizzle, l2Promotion,
                     fill);
}

/// Launches once with tensors that the plan has not seen, and keeps what the driver was asked to do.
static Recording record(LoadedBundle &loaded) {
  Recording result;
  recording = &result;
  recordedManifest = &loaded.plan->manifest();
  recordedPlan = &loaded.plan->forward().plan();
  Driver &driver = *loaded.driver;
  auto launchKernel = driver.cuLaunchKernelEx;
  auto memset = driver.cuMemsetD8Async;
  encodeTiled = driver.cuTensorMapEncodeTiled;
  driver.cuLaunchKernelEx = recordLaunch;
  driver.cuMemsetD8Async = recordClear;
  driver.cuTensorMapEncodeTiled = recordMap;
  loaded.launch(loaded.arguments);
  driver.cuLaunchKernelEx = launchKernel;
  driver.cuMemsetD8Async = memset;
  driver.cuTensorMapEncodeTiled = encodeTiled;
  return result;
}

namespace {
struct Variant {
  const char *name;
  std::function<void(int call)> run;
  std::vector<double> times = {};
};
} // namespace

/// Microseconds a call of every variant, in turns.
static void measure(const Driver &driver, std::vector<Variant> &variants) {
  using Clock = std::chrono::steady_clock;
  int call = 0;
  for (int round = -10; round < kRounds; ++round)
    for (Variant &variant : variants) {
      Clock::time_point begin = Clock::now();
      for (int i = 0; i < kCalls; ++i)
        variant.run(call++);
      double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
      require(driver.check(driver.cuCtxSynchronize(), "waiting for the launches"));
      if (round >= 0)
        variant.times.push_back(seconds * 1e6 / kCalls);
    }
}

int timeOnDevice(const char *path) {
  LoadedBundle loaded(path);
  const Driver &driver = *loaded.driver;
  Recording calls = record(loaded);
  std::vector<TensorArg> moving = loaded.arguments;
  auto launchElsewhere = [&](int call) {
    for (size_t i = 0; i < moving.size(); ++i)
      moving[i].data = static_cast<char *>(loaded.arguments[i].data) + call % kPlaces * kPlaceBytes;
    loaded.launch(moving);
  };
  std::vector<Variant> variants = {{"the driver's launches alone", [&](int) { calls.repeat(driver); }},
                                   {"launch, the same tensors", [&](int) { loaded.launch(loaded.arguments); }},
                                   {"launch, other tensors each time", launchElsewhere}};
  CuContext current = nullptr;
  variants.push_back({"  cuCtxGetCurrent, once", [&](int) { driver.cuCtxGetCurrent(&current); }});
  alignas(64) char map[128];
  uint64_t dims[] = {128, 1024, 8, 1}, steps[] = {256, 256 << 10, 256 << 13};
  uint32_t box[] = {64, 64, 1, 1}, ones[] = {1, 1, 1, 1};
  variants.push_back(
      {"  cuTensorMapEncodeTiled, once", [&](int call) {
         auto *data = reinterpret_cast<void *>(uintptr_t(call % kPlaces + 1) << 20);
         require(driver.check(driver.cuTensorMapEncodeTiled(map, 9, 4, data, dims, steps, box, ones, 0, 3, 3, 0),
                              "cuTensorMapEncodeTiled"));
       }});
  if (!calls.clears.empty())
    variants.push_back({"  cuMemsetD8Async, once", [&](int) {
                          const Recording::ClearCall &clear = calls.clears[0];
                          driver.cuMemsetD8Async(clear.pointer, clear.value, clear.bytes, nullptr);
                        }});
  measure(driver, variants);
  auto count = [](size_t number, const char *what) {
    return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
  };
  std::printf("%s: %s, %s; a launch of new tensors encodes %s\n"
              "microseconds of the calling thread, %d rounds of %d calls\n%-34s %8s %8s %8s %10s\n",
              loaded.plan->manifest().name.c_str(), count(calls.kernels.size(), "kernel").c_str(),
              count(calls.clears.size(), "clear").c_str(), count(calls.maps, "tensor map").c_str(), kRounds, kCalls, "",
              "median", "10 %", "90 %", "a kernel");
  for (Variant &variant : variants) {
    std::vector<double> &times = variant.times;
    std::sort(times.begin(), times.end());
    double median = times[times.size() / 2];
    std::printf("%-34s %8.3f %8.3f %8.3f", variant.name, median, times[times.size() / 10],
                times[times.size() * 9 / 10]);
    std::printf(variant.name[0] == ' ' ? "\n" : " %10.3f\n", median / double(calls.kernels.size()));
  }
  return 0;
}

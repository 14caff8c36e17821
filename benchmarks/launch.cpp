//===- launch.cpp - What a launch costs on the CPU
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Times PlanHandle::launch and frn_plan_run against the tests' driver library, whose
// functions return at once: what is left is ours. Needs no GPU. Plans of 1 and of 12
// kernels, each kernel with four tensors, twelve strides and, in `maps`, three tensor maps.
//
//   build/bin/launch-bench
//   build/bin/launch-bench FILE.fkb      the forward plan of a bundle on the GPU, beside the driver's launches alone
//
//===----------------------------------------------------------------------===//

#include "LaunchDevice.h"
#include "fresnel/Runtime/Plan.h"
#include "fresnel/c/fresnel.h"
#include <benchmark/benchmark.h>
#include <cstdlib>

using namespace fresnel::rt;

/// q, k and v to out, in `kernels` launches through the workspace.
static Bundle makeBundle(int64_t kernels, bool maps) {
  Bundle bundle;
  Manifest &manifest = bundle.manifest;
  manifest.name = "benchmark";
  manifest.fresnelVersion = manifest.llvmVersion = "1";
  manifest.target = {"sm_90a", "8.0", 12000, 9, 0, true};
  for (const char *name : {"q", "k", "v"})
    manifest.buffers.push_back({name, BufferKind::Input, DType::BF16, {1, 8, 1024, 128}});
  manifest.buffers.push_back({"out", BufferKind::Output, DType::BF16, {1, 8, 1024, 128}});
  Kernel kernel;
  kernel.op = "fresnel.attend";
  for (int64_t operand = 0; operand < 4; ++operand) {
    Param map{ParamKind::TensorMap, operand};
    map.rows = map.cols = 64;
    map.swizzle = 128;
    kernel.params.push_back(maps && operand < 3 ? map : Param{ParamKind::Pointer, operand});
    for (int64_t dim = 0; dim < 3; ++dim)
      kernel.params.push_back({ParamKind::Stride, operand, dim});
  }
  for (int64_t i = 0; i < kernels; ++i) {
    kernel.name = kernel.entry = "kernel_" + std::to_string(i);
    manifest.kernels.push_back(kernel);
    manifest.launches.push_back({i, {0, 1, 2, 3}});
    bundle.ptx.push_back(".version 8.0");
  }
  return bundle;
}

namespace {
/// Tensors for the bundle.
struct Arguments {
  int64_t shape[4] = {1, 8, 1024, 128}, strides[4] = {1 << 20, 128, 1024, 1};
  TensorArg args[4];
  frn_tensor tensors[4];
  Arguments() {
    for (int i = 0; i < 4; ++i) {
      void *data = reinterpret_cast<void *>(uintptr_t(i + 1) << 20);
      args[i] = {data, DType::BF16, shape, strides, 4};
      tensors[i] = {data, FRN_BF16, 4, shape, strides};
    }
  }
};
} // namespace

static void launchPlan(benchmark::State &state) {
  auto driver = Driver::load();
  auto plan = driver ? LoadedPlan::load(*driver, makeBundle(state.range(0), state.range(1)), 0)
                     : Expected<LoadedPlan>(driver.status());
  if (!plan)
    return state.SkipWithError(plan.status().message().c_str());
  Arguments arguments;
  for (auto _ : state)
    if (Status status = plan->forward().launch(arguments.args, 4, {}, nullptr); !status.ok())
      return state.SkipWithError(status.message().c_str());
}

static void launchThroughC(benchmark::State &state) {
  Bundle bundle = makeBundle(state.range(0), state.range(1));
  Expected<std::string> content = serializeBundle("benchmark", bundle.manifest, bundle.ptx);
  frn_plan *plan = nullptr;
  if (!content || frn_plan_load_memory(content->data(), content->size(), 0, &plan) != FRN_OK)
    return state.SkipWithError(frn_last_error());
  Arguments arguments;
  frn_memory memory = {};
  for (auto _ : state)
    if (frn_plan_run(plan, FRN_FORWARD, arguments.tensors, 4, &memory, nullptr) != FRN_OK)
      return state.SkipWithError(frn_last_error());
  frn_plan_destroy(plan);
}

BENCHMARK(launchPlan)->ArgNames({"kernels", "maps"})->Args({1, 0})->Args({1, 1})->Args({12, 0})->Args({12, 1});
BENCHMARK(launchThroughC)->ArgNames({"kernels", "maps"})->Args({1, 0})->Args({12, 1});

int main(int argc, char **argv) {
  benchmark::Initialize(&argc, argv);
  if (argc > 1)
    return timeOnDevice(argv[1]);
  setenv("FRESNEL_CUDA_DRIVER", FAKE_DRIVER, 1);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

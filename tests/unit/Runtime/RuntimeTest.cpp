//===- RuntimeTest.cpp - The runtime on a fake driver: every error path
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "RuntimeSupport.h"
#include <optional>

using namespace fresnel::rt;

TEST_F(RuntimeTest, MissingLibrary) {
  setenv("FRESNEL_CUDA_DRIVER", "/nonexistent/libcuda.so", 1);
  expectRefused(Driver::load().status(), Code::NoDriver, "/nonexistent/libcuda.so");
}

// Gates and scores: rows that no kernel reads in 16-byte chunks may start anywhere.
TEST_F(RuntimeTest, ShortRowsNeedNoAlignedStrides) {
  Bundle bundle = makeBundle();
  bundle.manifest.buffers[0].shape = shape = {1, 2, 64, 3};
  strides = {384, 3, 6, 1};
  auto plan = load(std::move(bundle));
  ASSERT_TRUE(bool(plan)) << plan.status().message();
  Status status = plan->launch(args.data(), args.size(), workspace, 1024, nullptr);
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST_F(RuntimeTest, MissingSymbol) {
  setenv("FRESNEL_FAKE", "no-symbol", 1);
  expectRefused(Driver::load().status(), Code::DriverTooOld, "cuLibraryLoadData");
}

TEST_F(RuntimeTest, OldDriver) {
  setenv("FRESNEL_FAKE", "old-driver", 1);
  expectRefused(Driver::load().status(), Code::DriverTooOld, "supports CUDA 11.8, but 12.0 is needed");
}

TEST_F(RuntimeTest, NoDevice) {
  setenv("FRESNEL_FAKE", "no-device", 1);
  expectRefused(Driver::load().status(), Code::NoDriver, "CUDA_ERROR_NO_DEVICE");
}

TEST_F(RuntimeTest, OldGpu) {
  setenv("FRESNEL_FAKE", "old-gpu", 1);
  expectRefused(load(makeBundle()).status(), Code::Unsupported, "compile with --target=sm_80");
}

TEST_F(RuntimeTest, DriverOlderThanThePtx) {
  Bundle bundle = makeBundle();
  bundle.manifest.target.minDriverCuda = 13010;
  expectRefused(load(std::move(bundle)).status(), Code::DriverTooOld, "needs a driver of CUDA 13.1");
}

TEST_F(RuntimeTest, GeometryTheDeviceCannotRun) {
  Bundle bundle = makeBundle();
  bundle.manifest.kernels[0].sharedBytes = 240000;
  expectRefused(load(std::move(bundle)).status(), Code::Unsupported,
                "kernel 'kernel' needs 240000 bytes of shared memory per block, but Fake GPU has 232448");
}

TEST_F(RuntimeTest, RejectedPtxShowsTheLog) {
  setenv("FRESNEL_FAKE", "bad-ptx", 1);
  expectRefused(load(makeBundle()).status(), Code::CudaError, "line 1; fatal: not PTX");
}

TEST_F(RuntimeTest, OutOfMemorySaysHowMuch) {
  auto driver = Driver::load();
  ASSERT_TRUE(bool(driver));
  setenv("FRESNEL_FAKE", "no-memory", 1);
  expectRefused(DeviceBuffer::allocate(*driver, 64u << 20).status(), Code::OutOfMemory,
                "64 MiB were asked for, 5 of 16 MiB are free");
}

TEST_F(RuntimeTest, LaunchPassesTheParameters) {
  auto plan = load(makeBundle());
  ASSERT_TRUE(bool(plan)) << plan.status().message();
  EXPECT_EQ(plan->workspaceBytes(), 1024);
  EXPECT_EQ(plan->arguments(), (std::vector<size_t>{0, 2}));
  int before = ask<int>("FakeDriver_allocations");
  Status status = plan->launch(args.data(), args.size(), workspace, 1024, nullptr);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(ask<int>("FakeDriver_allocations"), before);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 0), 0x1000u);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 1), 64u);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 2), 0x8100u);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 3), 0x2000u);
}

TEST_F(RuntimeTest, LaunchClearsZeroedBuffers) {
  Bundle bundle = makeBundle();
  bundle.manifest.buffers.push_back({"kernel.counter", BufferKind::Zeroed, DType::I32, {1}, 768});
  bundle.manifest.kernels[0].params[3].operand = 3;
  bundle.manifest.launches[0].operands.push_back(3);
  auto plan = load(bundle);
  ASSERT_TRUE(bool(plan)) << plan.status().message();
  EXPECT_EQ(plan->arguments(), (std::vector<size_t>{0, 2}));
  ASSERT_TRUE(plan->launch(args.data(), args.size(), workspace, 1024, nullptr).ok());
  EXPECT_EQ(ask<uint64_t>("FakeDriver_cleared", 0), 0x8300u);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_cleared", 1), 4u);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 3), 0x8300u);
  setenv("FRESNEL_FAKE", "clear", 1);
  expectRefused(plan->launch(args.data(), 2, workspace, 1024, nullptr), Code::CudaError, "clearing 'kernel.counter'");
}

TEST_F(RuntimeTest, NeighboursAreClearedAtOnce) {
  Bundle bundle = makeBundle();
  auto add = [&](const char *name, int64_t offset, int64_t elements) {
    bundle.manifest.buffers.push_back({name, BufferKind::Zeroed, DType::I32, {elements}, offset});
  };
  // `a` and `b` have padding between them; `t` lies between them and `c`.
  add("b", 768, 1);
  add("a", 512, 1);
  bundle.manifest.buffers[1].offset = 1024;
  add("c", 1024 + 512, 64);
  bundle.manifest.workspaceBytes = 2048;
  auto plan = load(bundle);
  ASSERT_TRUE(bool(plan)) << plan.status().message();
  int before = ask<int>("FakeDriver_clears");
  ASSERT_TRUE(plan->forward().clear({workspace, 2048}, nullptr).ok());
  EXPECT_EQ(ask<int>("FakeDriver_clears"), before + 2);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_cleared", 0), 0x8600u);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_cleared", 1), 256u);
  bundle.manifest.buffers.pop_back();
  plan = load(bundle);
  ASSERT_TRUE(plan->forward().clear({workspace, 2048}, nullptr).ok());
  EXPECT_EQ(ask<uint64_t>("FakeDriver_cleared", 0), 0x8200u);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_cleared", 1), 260u);
}

/// `makeBundle` whose kernel runs three times.
static Bundle makeChain(bool dependentLaunch) {
  Bundle bundle = makeBundle();
  bundle.manifest.kernels[0].dependentLaunch = dependentLaunch;
  bundle.manifest.launches.resize(3, bundle.manifest.launches[0]);
  return bundle;
}

TEST_F(RuntimeTest, KernelsThatWaitAreLaunchedEarlyBehindTheFirst) {
  for (bool waits : {false, true}) {
    auto plan = load(makeChain(waits));
    ASSERT_TRUE(bool(plan)) << plan.status().message();
    int launches = ask<int>("FakeDriver_launches"), dependent = ask<int>("FakeDriver_dependentLaunches");
    ASSERT_TRUE(plan->launch(args.data(), args.size(), workspace, 1024, nullptr).ok());
    EXPECT_EQ(ask<int>("FakeDriver_launches"), launches + 3);
    EXPECT_EQ(ask<int>("FakeDriver_dependentLaunches"), dependent + (waits ? 2 : 0));
  }
}

TEST_F(RuntimeTest, DriversWhoseGraphsKnowNoEarlyLaunchesGetNone) {
  setenv("FRESNEL_FAKE", "cuda-12.2", 1);
  auto plan = load(makeChain(true));
  ASSERT_TRUE(bool(plan)) << plan.status().message();
  int dependent = ask<int>("FakeDriver_dependentLaunches");
  ASSERT_TRUE(plan->launch(args.data(), args.size(), workspace, 1024, nullptr).ok());
  EXPECT_EQ(ask<int>("FakeDriver_dependentLaunches"), dependent);
}

TEST_F(RuntimeTest, StepsLaunchOneKernelEachAndNoneEarly) {
  Bundle bundle = makeChain(true);
  bundle.manifest.buffers.push_back({"kernel.counter", BufferKind::Zeroed, DType::I32, {1}, 768});
  auto plan = load(bundle);
  ASSERT_TRUE(bool(plan)) << plan.status().message();
  LaunchMemory memory{workspace, 1024, nullptr, 0};
  int launches = ask<int>("FakeDriver_launches"), dependent = ask<int>("FakeDriver_dependentLaunches");
  ASSERT_TRUE(plan->forward().clear(memory, nullptr).ok());
  EXPECT_EQ(ask<uint64_t>("FakeDriver_cleared", 0), 0x8300u);
  for (size_t i = 0; i < 3; ++i)
    ASSERT_TRUE(plan->forward().launchStep(i, args.data(), memory, nullptr).ok());
  EXPECT_EQ(ask<int>("FakeDriver_launches"), launches + 3);
  EXPECT_EQ(ask<int>("FakeDriver_dependentLaunches"), dependent);
}

TEST_F(RuntimeTest, SlicesHaveTheirHeadsAndOneWorkspace) {
  Bundle bundle = makeChain(true);
  Manifest &manifest = bundle.manifest;
  manifest.slices = manifest.buffers[0].slices = manifest.buffers[2].slices = {1, 2};
  manifest.buffers[1].shape = {1, 1, 64};
  manifest.buffers.push_back({"kernel.counter", BufferKind::Zeroed, DType::I32, {1}, 768});
  manifest.launches.resize(4, manifest.launches[0]);
  manifest.launches[2].slice = manifest.launches[3].slice = 1;
  auto plan = load(bundle);
  ASSERT_TRUE(bool(plan)) << plan.status().message();
  int dependent = ask<int>("FakeDriver_dependentLaunches"), clears = ask<int>("FakeDriver_clears");
  ASSERT_TRUE(plan->launch(args.data(), args.size(), workspace, 1024, nullptr).ok());
  // The first launch of a slice waits for the slice before, and finds its counters cleared.
  EXPECT_EQ(ask<int>("FakeDriver_dependentLaunches"), dependent + 2);
  EXPECT_EQ(ask<int>("FakeDriver_clears"), clears + 2);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 0), 0x1000u + 2 * uint64_t(args[0].strides[1]));
  EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 2), 0x8100u);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 3), 0x2000u + 4 * 64u);

  LaunchMemory memory{workspace, 1024, nullptr, 0};
  clears = ask<int>("FakeDriver_clears");
  for (size_t i = 0; i < 4; ++i)
    ASSERT_TRUE(plan->forward().launchStep(i, args.data(), memory, nullptr).ok());
  EXPECT_EQ(ask<int>("FakeDriver_clears"), clears + 1);
}

TEST_F(RuntimeTest, EachSliceSavesInItsPart) {
  Bundle bundle = makeGradientBundle();
  Manifest &manifest = bundle.manifest;
  manifest.slices = {1, 2};
  manifest.savedBytes = 2048;
  manifest.launches.push_back(manifest.launches[0]);
  manifest.launches[1].slice = 1;
  auto plan = load(bundle);
  ASSERT_TRUE(bool(plan)) << plan.status().message();
  LaunchMemory memory{workspace, 1024, reinterpret_cast<void *>(0x20000), 2048};
  ASSERT_TRUE(plan->forward().launch(args.data(), 2, memory, nullptr).ok());
  EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 2), 0x20600u);
}

TEST_F(RuntimeTest, ThreadWithoutContextGetsThePrimaryOne) {
  {
    auto plan = load(makeBundle());
    ASSERT_TRUE(bool(plan)) << plan.status().message();
    setenv("FRESNEL_FAKE", "no-context", 1);
    EXPECT_EQ(ask<void *>("FakeDriver_context"), nullptr);
    Status status = plan->launch(args.data(), 2, workspace, 1024, nullptr);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_NE(ask<void *>("FakeDriver_context"), nullptr);
    EXPECT_EQ(ask<int>("FakeDriver_releases"), 0);
  }
  EXPECT_EQ(ask<int>("FakeDriver_releases"), 1) << "unloading gives the context back";
}

TEST_F(RuntimeTest, LaunchInAnotherContextIsRefused) {
  auto plan = load(makeBundle());
  ASSERT_TRUE(bool(plan)) << plan.status().message();
  setenv("FRESNEL_FAKE", "other-context", 1);
  int before = ask<int>("FakeDriver_launches");
  expectRefused(plan->launch(args.data(), 2, workspace, 1024, nullptr), Code::InvalidArgument,
                "not the primary context of GPU 0, on which the plan was loaded; call cudaSetDevice(0)");
  EXPECT_EQ(ask<int>("FakeDriver_launches"), before);
}

TEST_F(RuntimeTest, PlansOfTwoDevicesShareAProcess) {
  setenv("FRESNEL_FAKE", "two-devices", 1);
  auto driver = Driver::load();
  ASSERT_TRUE(bool(driver)) << driver.status().message();
  auto first = LoadedPlan::load(*driver, makeBundle(), 0), second = LoadedPlan::load(*driver, makeBundle(), 1);
  ASSERT_TRUE(first && second) << first.status().message() << second.status().message();
  expectRefused(LoadedPlan::load(*driver, makeBundle(), 2).status(), Code::CudaError, "cuDeviceGet(2)");
  CuContext contexts[2];
  for (int device : {0, 1, 0}) {
    ASSERT_EQ((*driver)->cuDevicePrimaryCtxRetain(&contexts[device], device), 0);
    ASSERT_EQ((*driver)->cuCtxSetCurrent(contexts[device]), 0);
    const LoadedPlan &mine = device == 0 ? *first : *second, &other = device == 0 ? *second : *first;
    Status status = mine.launch(args.data(), 2, workspace, 1024, nullptr);
    EXPECT_TRUE(status.ok()) << status.message();
    expectRefused(other.launch(args.data(), 2, workspace, 1024, nullptr), Code::InvalidArgument,
                  "call cudaSetDevice(" + std::to_string(1 - device) + ") before the launch");
  }
}

TEST_F(RuntimeTest, LaunchFailureNamesTheKernel) {
  auto plan = load(makeBundle());
  ASSERT_TRUE(bool(plan));
  setenv("FRESNEL_FAKE", "launch", 1);
  expectRefused(plan->launch(args.data(), 2, workspace, 1024, nullptr), Code::CudaError, "launching kernel 'kernel'");
}

TEST_F(RuntimeTest, WrongTensorsAreRefused) {
  auto plan = load(makeBundle());
  ASSERT_TRUE(bool(plan));
  auto tryLaunch = [&](void *space = reinterpret_cast<void *>(0x8000), int64_t bytes = 1024, size_t count = 2) {
    return plan->launch(args.data(), count, space, bytes, nullptr);
  };
  int before = ask<int>("FakeDriver_launches");
  expectRefused(tryLaunch(workspace, 1024, 1), Code::InvalidArgument, "takes 2 tensors, but got 1");
  expectRefused(tryLaunch(workspace, 512), Code::WorkspaceTooSmall, "has 512 bytes, but 1024 are needed");
  expectRefused(tryLaunch(reinterpret_cast<void *>(0x8010)), Code::InvalidArgument, "not aligned to 256");
  shape[2] = 65;
  expectRefused(tryLaunch(), Code::InvalidArgument, "tensor 'x' has size 65 in dimension 2, but 64 is expected");
  shape[2] = 64;
  strides[3] = 2;
  expectRefused(tryLaunch(), Code::InvalidArgument, "stride 2 in its last dimension, but 1 is needed");
  strides[3] = 1;
  strides[2] = 65;
  expectRefused(tryLaunch(), Code::InvalidArgument, "a multiple of 8 elements (16 bytes) is needed");
  strides[2] = 64;
  outStrides[1] = 128;
  expectRefused(tryLaunch(), Code::InvalidArgument, "tensor 'y' must be contiguous");
  outStrides[1] = 64;
  args[0].dtype = DType::F16;
  expectRefused(tryLaunch(), Code::InvalidArgument, "is f16, but the kernels take bf16");
  args[0].dtype = DType::BF16;
  args[0].data = reinterpret_cast<void *>(0x1008);
  expectRefused(tryLaunch(), Code::InvalidArgument, "not aligned to 16 bytes");
  args[0].data = nullptr;
  expectRefused(tryLaunch(), Code::InvalidArgument, "tensor 'x' is a null pointer");
  args[0].data = args[1].data;
  expectRefused(tryLaunch(), Code::InvalidArgument, "tensor 'y' begins where tensor 'x' does");
  args[0].data = reinterpret_cast<void *>(0x1000);
  outStrides[0] = outStrides[1] = 0;
  expectRefused(tryLaunch(), Code::InvalidArgument, "tensor 'y' has stride 0 in dimension 1");
  EXPECT_EQ(ask<int>("FakeDriver_launches"), before);
}

TEST_F(RuntimeTest, TwoPlansShareTheSavedBuffer) {
  auto plan = load(makeGradientBundle());
  ASSERT_TRUE(bool(plan)) << plan.status().message();
  EXPECT_EQ(plan->savedBytes(), 1024);
  EXPECT_EQ(plan->forward().arguments(), (std::vector<size_t>{0, 2}));
  auto backward = plan->backward();
  ASSERT_TRUE(bool(backward)) << backward.status().message();
  EXPECT_EQ((*backward)->arguments(), (std::vector<size_t>{0, 1, 3}));
  EXPECT_EQ((*backward)->workspaceBytes(), 256);
  LaunchMemory memory{workspace, 1024, reinterpret_cast<void *>(0x20000), 1024};
  ASSERT_TRUE(plan->forward().launch(args.data(), 2, memory, nullptr).ok());
  EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 2), 0x20200u);
  std::vector<TensorArg> gradients = makeGradients();
  int before = ask<int>("FakeDriver_allocations");
  ASSERT_TRUE((*backward)->launch(gradients.data(), 3, memory, nullptr).ok());
  EXPECT_EQ(ask<int>("FakeDriver_allocations"), before);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 0), 0x1000u);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 2), 0x20200u);
  EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 3), 0x3000u);
}

TEST_F(RuntimeTest, HandlesOutliveTheLoadedPlan) {
  std::optional<PlanHandle> handle;
  {
    auto plan = load(makeGradientBundle());
    ASSERT_TRUE(bool(plan));
    handle = **plan->backward();
  }
  std::vector<TensorArg> gradients = makeGradients();
  LaunchMemory memory{workspace, 1024, reinterpret_cast<void *>(0x20000), 1024};
  EXPECT_TRUE(handle->launch(gradients.data(), 3, memory, nullptr).ok());
}

TEST_F(RuntimeTest, BackwardIsRefusedWithReason) {
  auto forwardOnly = load(makeBundle());
  ASSERT_TRUE(bool(forwardOnly));
  EXPECT_FALSE(forwardOnly->hasBackward());
  expectRefused(forwardOnly->backward().status(), Code::Unsupported,
                "no backward plan; compile the method with --grad");
  auto plan = load(makeGradientBundle());
  ASSERT_TRUE(bool(plan));
  int before = ask<int>("FakeDriver_launches");
  expectRefused(plan->launch(args.data(), 2, workspace, 1024, nullptr), Code::InvalidArgument, "saves 1024 bytes");
  const PlanHandle &backward = **plan->backward();
  std::vector<TensorArg> gradients = makeGradients();
  auto tryLaunch = [&](size_t count, LaunchMemory memory) {
    return backward.launch(gradients.data(), count, memory, nullptr);
  };
  void *saved = reinterpret_cast<void *>(0x20000);
  expectRefused(tryLaunch(2, {workspace, 256, saved, 1024}), Code::InvalidArgument,
                "the backward plan takes 3 tensors, but got 2");
  expectRefused(tryLaunch(3, {workspace, 256}), Code::WorkspaceTooSmall,
                "saved buffer has 0 bytes, but 1024 are needed");
  expectRefused(tryLaunch(3, {workspace, 256, saved, 512}), Code::WorkspaceTooSmall, "saved buffer has 512 bytes");
  expectRefused(tryLaunch(3, {workspace, 256, static_cast<char *>(saved) + 16, 1024}), Code::InvalidArgument,
                "the saved buffer is not aligned to 256 bytes");
  expectRefused(tryLaunch(3, {nullptr, 0, saved, 1024}), Code::WorkspaceTooSmall, "workspace has 0 bytes, but 256");
  gradients[1].dtype = DType::BF16;
  expectRefused(tryLaunch(3, {workspace, 256, saved, 1024}), Code::InvalidArgument,
                "tensor 'dy' is bf16, but the kernels take f32");
  EXPECT_EQ(ask<int>("FakeDriver_launches"), before);
}

//===- RuntimeTest.cpp - The runtime on a fake driver: every error path
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/File.h"
#include "fresnel/Runtime/Plan.h"
#include "fresnel/Tuning/Selection.h"
#include "fresnel/Tuning/Workload.h"
#include "fresnel/c/fresnel.h"
#include <cstdlib>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <optional>
#include <unistd.h>

using namespace fresnel::rt;

namespace {

Bundle makeBundle() {
  Bundle bundle;
  Manifest &manifest = bundle.manifest;
  manifest.name = "test";
  manifest.fresnelVersion = manifest.llvmVersion = "1";
  manifest.target = {"sm_90a", "8.0", 12000, 9, 0, true};
  manifest.buffers = {{"x", BufferKind::Input, DType::BF16, {1, 2, 64, 32}, 0},
                      {"t", BufferKind::Temporary, DType::F32, {1, 2, 64}, 256},
                      {"y", BufferKind::Output, DType::F32, {1, 2, 64}, 0}};
  manifest.workspaceBytes = 1024;
  Kernel kernel;
  kernel.name = kernel.entry = "kernel";
  kernel.op = "fresnel.norm";
  kernel.params = {
      {ParamKind::Pointer, 0}, {ParamKind::Stride, 0, 2}, {ParamKind::Pointer, 1}, {ParamKind::Pointer, 2}};
  manifest.kernels = {kernel};
  manifest.launches = {{0, {0, 1, 2}}};
  bundle.ptx = {".version 8.0"};
  return bundle;
}

/// `makeBundle` with gradients: the forward plan saves `s`, the backward plan reads `x`, `dy` and `s`.
Bundle makeGradientBundle() {
  Bundle bundle = makeBundle();
  Manifest &manifest = bundle.manifest;
  manifest.buffers.push_back({"s", BufferKind::Output, DType::F32, {1, 2, 64}, 0, 512});
  manifest.launches = {{0, {0, 3, 2}}};
  manifest.savedBytes = 1024;
  Plan &backward = manifest.backward.emplace();
  backward.buffers = {{"x", BufferKind::Input, DType::BF16, {1, 2, 64, 32}, 0},
                      {"dy", BufferKind::Input, DType::F32, {1, 2, 64}, 0},
                      {"s", BufferKind::Input, DType::F32, {1, 2, 64}, 0, 512},
                      {"dx", BufferKind::Output, DType::BF16, {1, 2, 64, 32}, 0}};
  backward.workspaceBytes = 256;
  backward.launches = {{0, {0, 2, 3}}};
  return bundle;
}

class RuntimeTest : public testing::Test {
protected:
  void SetUp() override {
    setenv("FRESNEL_CUDA_DRIVER", FAKE_DRIVER, 1);
    unsetenv("FRESNEL_FAKE");
    fake = dlopen(FAKE_DRIVER, RTLD_NOW);
    ASSERT_TRUE(fake) << dlerror();
    ask<void>("FakeDriver_watchParams", 4);
  }
  void TearDown() override {
    unsetenv("FRESNEL_FAKE");
    dlclose(fake);
  }

  template <typename Result, typename... Args>
  Result ask(const char *name, Args... args) {
    return reinterpret_cast<Result (*)(Args...)>(dlsym(fake, name))(args...);
  }

  Expected<LoadedPlan> load(Bundle bundle) {
    auto driver = Driver::load();
    EXPECT_TRUE(bool(driver)) << driver.status().message();
    return LoadedPlan::load(*driver, std::move(bundle), 0);
  }

  void expectRefused(const Status &status, Code code, const std::string &part) {
    EXPECT_EQ(status.code(), code);
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  }

  std::vector<int64_t> shape{1, 2, 64, 32}, strides{4096, 32, 64, 1}, outShape{1, 2, 64}, outStrides{128, 64, 1};
  std::vector<TensorArg> args{{reinterpret_cast<void *>(0x1000), DType::BF16, shape.data(), strides.data(), 4},
                              {reinterpret_cast<void *>(0x2000), DType::F32, outShape.data(), outStrides.data(), 3}};
  void *workspace = reinterpret_cast<void *>(0x8000);
  void *fake = nullptr;
};

} // namespace

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
  bundle = makeBundle();
  bundle.manifest.kernels[0].cluster = {2, 1, 1};
  expectRefused(load(std::move(bundle)).status(), Code::Unsupported, "clusters of 2x1x1 blocks");
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
  TensorArg dx = args[0];
  dx.data = reinterpret_cast<void *>(0x3000);
  std::vector<TensorArg> gradients{args[0], args[1], dx};
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
  std::vector<TensorArg> gradients{args[0], args[1], args[0]};
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
  std::vector<TensorArg> gradients{args[0], args[1], args[0]};
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

TEST_F(RuntimeTest, CInterfaceOfGradients) {
  std::string path = testing::TempDir() + "fresnel_c_grad.fkb";
  Bundle bundle = makeGradientBundle();
  ASSERT_TRUE(writeBundle(path, bundle.manifest, bundle.ptx).ok());
  frn_plan *plan = nullptr;
  ASSERT_EQ(frn_plan_load(path.c_str(), 0, &plan), FRN_OK) << frn_last_error();
  EXPECT_EQ(frn_abi_minor(), FRN_ABI_MINOR);
  EXPECT_EQ(frn_plan_has_backward(plan), 1);
  EXPECT_EQ(frn_plan_has_backward(nullptr), 0);
  EXPECT_EQ(frn_plan_saved_bytes(plan), 1024);
  EXPECT_EQ(frn_plan_saved_bytes(nullptr), 0);
  ASSERT_EQ(frn_plan_saved_count(plan), 1u);
  EXPECT_EQ(frn_plan_saved_count(nullptr), 0u);
  frn_saved_tensor saved;
  ASSERT_EQ(frn_plan_get_saved(plan, 0, &saved), FRN_OK);
  EXPECT_STREQ(saved.name, "s");
  EXPECT_EQ(saved.offset, 512);
  EXPECT_EQ(saved.bytes, 512);
  EXPECT_EQ(frn_plan_get_saved(plan, 1, &saved), FRN_INVALID_ARGUMENT);
  EXPECT_STREQ(frn_last_error(), "saved tensor 1 of 1 was asked for");
  EXPECT_EQ(frn_plan_get_saved(plan, 0, nullptr), FRN_INVALID_ARGUMENT);
  size_t count = 0;
  ASSERT_EQ(frn_plan_count_arguments(plan, FRN_BACKWARD, &count), FRN_OK);
  EXPECT_EQ(count, 3u);
  EXPECT_EQ(frn_plan_count_arguments(plan, FRN_BACKWARD, nullptr), FRN_INVALID_ARGUMENT);
  EXPECT_EQ(frn_plan_count_arguments(nullptr, FRN_BACKWARD, &count), FRN_INVALID_ARGUMENT);
  EXPECT_EQ(frn_plan_count_arguments(plan, static_cast<frn_direction>(2), &count), FRN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(frn_last_error()).find("neither FRN_FORWARD nor FRN_BACKWARD"), std::string::npos);
  frn_argument argument;
  ASSERT_EQ(frn_plan_get_argument(plan, FRN_BACKWARD, 1, &argument), FRN_OK);
  EXPECT_STREQ(argument.name, "dy");
  EXPECT_EQ(frn_plan_get_argument(plan, FRN_BACKWARD, 3, &argument), FRN_INVALID_ARGUMENT);
  EXPECT_EQ(frn_plan_get_argument(plan, FRN_BACKWARD, 1, nullptr), FRN_INVALID_ARGUMENT);
  int64_t bytes = 0;
  ASSERT_EQ(frn_plan_get_workspace_bytes(plan, FRN_BACKWARD, &bytes), FRN_OK);
  EXPECT_EQ(bytes, 256);
  EXPECT_EQ(frn_plan_get_workspace_bytes(plan, FRN_FORWARD, nullptr), FRN_INVALID_ARGUMENT);
  frn_tensor tensors[] = {{reinterpret_cast<void *>(0x1000), FRN_BF16, 4, shape.data(), strides.data()},
                          {reinterpret_cast<void *>(0x2000), FRN_F32, 3, outShape.data(), outStrides.data()},
                          {reinterpret_cast<void *>(0x3000), FRN_BF16, 4, shape.data(), strides.data()}};
  frn_memory memory{workspace, 1024, reinterpret_cast<void *>(0x20000), 1024};
  EXPECT_EQ(frn_plan_run(plan, FRN_FORWARD, tensors, 2, &memory, nullptr), FRN_OK) << frn_last_error();
  EXPECT_EQ(frn_plan_run(plan, FRN_BACKWARD, tensors, 3, &memory, nullptr), FRN_OK) << frn_last_error();
  EXPECT_EQ(frn_plan_run(plan, FRN_BACKWARD, tensors, 2, &memory, nullptr), FRN_INVALID_ARGUMENT);
  EXPECT_EQ(frn_plan_run(plan, FRN_BACKWARD, tensors, 3, nullptr, nullptr), FRN_INVALID_ARGUMENT);
  EXPECT_EQ(frn_plan_run(plan, FRN_BACKWARD, nullptr, 3, &memory, nullptr), FRN_INVALID_ARGUMENT);
  EXPECT_EQ(frn_plan_run(plan, FRN_BACKWARD, tensors, 33, &memory, nullptr), FRN_INVALID_ARGUMENT);
  EXPECT_EQ(frn_plan_run(nullptr, FRN_BACKWARD, tensors, 3, &memory, nullptr), FRN_INVALID_ARGUMENT);
  memory.saved = nullptr;
  EXPECT_EQ(frn_plan_run(plan, FRN_BACKWARD, tensors, 3, &memory, nullptr), FRN_WORKSPACE_TOO_SMALL);
  tensors[1].dtype = static_cast<frn_dtype>(7);
  EXPECT_EQ(frn_plan_run(plan, FRN_BACKWARD, tensors, 3, &memory, nullptr), FRN_INVALID_ARGUMENT);
  EXPECT_STREQ(frn_last_error(), "tensor 1 has dtype 7, which is no frn_dtype");
  EXPECT_EQ(frn_plan_launch(plan, tensors, 2, workspace, 1024, nullptr), FRN_INVALID_ARGUMENT);
  frn_plan_destroy(plan);
  bundle = makeBundle();
  ASSERT_TRUE(writeBundle(path, bundle.manifest, bundle.ptx).ok());
  ASSERT_EQ(frn_plan_load(path.c_str(), 0, &plan), FRN_OK) << frn_last_error();
  EXPECT_EQ(frn_plan_has_backward(plan), 0);
  EXPECT_EQ(frn_plan_run(plan, FRN_BACKWARD, tensors, 0, &memory, nullptr), FRN_UNSUPPORTED);
  EXPECT_NE(std::string(frn_last_error()).find("compile the method with --grad"), std::string::npos);
  frn_plan_destroy(plan);
  std::remove(path.c_str());
}

TEST_F(RuntimeTest, CInterface) {
  std::string path = testing::TempDir() + "fresnel_c.fkb";
  Bundle bundle = makeBundle();
  ASSERT_TRUE(writeBundle(path, bundle.manifest, bundle.ptx).ok());
  frn_plan *plan = nullptr;
  ASSERT_EQ(frn_plan_load(path.c_str(), 0, &plan), FRN_OK) << frn_last_error();
  EXPECT_EQ(frn_abi_version(), FRN_ABI_VERSION);
  ASSERT_EQ(frn_plan_argument_count(plan), 2u);
  frn_argument argument;
  ASSERT_EQ(frn_plan_argument(plan, 1, &argument), FRN_OK);
  EXPECT_STREQ(argument.name, "y");
  EXPECT_EQ(argument.is_output, 1);
  EXPECT_EQ(frn_plan_argument(plan, 2, &argument), FRN_INVALID_ARGUMENT);
  frn_tensor tensors[] = {{reinterpret_cast<void *>(0x1000), FRN_BF16, 4, shape.data(), strides.data()},
                          {reinterpret_cast<void *>(0x2000), FRN_F32, 3, outShape.data(), outStrides.data()}};
  EXPECT_EQ(frn_plan_launch(plan, tensors, 2, workspace, frn_plan_workspace_bytes(plan), nullptr), FRN_OK)
      << frn_last_error();
  EXPECT_EQ(frn_plan_launch(plan, tensors, 1, workspace, 1024, nullptr), FRN_INVALID_ARGUMENT);
  EXPECT_STREQ(frn_status_name(FRN_INVALID_ARGUMENT), "invalid argument");
  EXPECT_EQ(frn_plan_launch(plan, nullptr, 2, workspace, 1024, nullptr), FRN_INVALID_ARGUMENT);
  EXPECT_EQ(frn_plan_launch(nullptr, tensors, 2, workspace, 1024, nullptr), FRN_INVALID_ARGUMENT);
  tensors[0].strides = nullptr;
  EXPECT_EQ(frn_plan_launch(plan, tensors, 2, workspace, 1024, nullptr), FRN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(frn_last_error()).find("has no shape or no strides"), std::string::npos);
  EXPECT_EQ(frn_plan_argument(nullptr, 0, &argument), FRN_INVALID_ARGUMENT);
  EXPECT_EQ(frn_plan_argument_count(nullptr), 0u);
  frn_plan_destroy(plan);
  EXPECT_EQ(frn_plan_load("/nonexistent.fkb", 0, &plan), FRN_IO_ERROR);
  EXPECT_EQ(plan, nullptr);
  std::remove(path.c_str());
}

//===----------------------------------------------------------------------===//
// Digests, bundles in memory, traces
//===----------------------------------------------------------------------===//

static std::string digestPlan(const Bundle &bundle) {
  Expected<std::string> content = serializeBundle("test", bundle.manifest, bundle.ptx);
  EXPECT_TRUE(bool(content)) << content.status().message();
  frn_plan *plan = nullptr;
  EXPECT_EQ(frn_plan_load_memory(content->data(), content->size(), 0, &plan), FRN_OK) << frn_last_error();
  char digest[FRN_DIGEST_SIZE] = {};
  EXPECT_EQ(frn_plan_digest(plan, digest), FRN_OK) << frn_last_error();
  EXPECT_EQ(frn_plan_digest(plan, nullptr), FRN_INVALID_ARGUMENT);
  frn_plan_destroy(plan);
  return digest;
}

TEST_F(RuntimeTest, PlanDigestSaysWhetherTheKernelsAreTheSame) {
  std::string first = digestPlan(makeBundle());
  EXPECT_EQ(first.size(), 64u);
  Bundle bundle = makeBundle();
  bundle.manifest.name = bundle.manifest.program = bundle.manifest.fresnelVersion = "other";
  bundle.manifest.kernels[0].choice = R"({"source": "exact"})";
  EXPECT_EQ(digestPlan(bundle), first);
  bundle.ptx[0] += " ";
  EXPECT_NE(digestPlan(bundle), first);
  bundle = makeBundle();
  bundle.manifest.kernels[0].grid[0] = 2;
  EXPECT_NE(digestPlan(bundle), first);
  EXPECT_NE(digestPlan(makeGradientBundle()), first);
  EXPECT_EQ(frn_plan_digest(nullptr, first.data()), FRN_INVALID_ARGUMENT);
}

TEST_F(RuntimeTest, DamagedBundleInMemoryIsRefused) {
  frn_plan *plan = reinterpret_cast<frn_plan *>(1);
  EXPECT_EQ(frn_plan_load_memory("FKB", 3, 0, &plan), FRN_INTEGRITY);
  EXPECT_EQ(plan, nullptr);
  EXPECT_EQ(frn_plan_load_memory(nullptr, 3, 0, &plan), FRN_INVALID_ARGUMENT);
}

TEST_F(RuntimeTest, SelectionDigestIsTheDatabases) {
  char digest[FRN_DIGEST_SIZE] = {}, other[FRN_DIGEST_SIZE] = {};
  ASSERT_EQ(frn_selection_digest("/nonexistent", 0, digest), FRN_OK) << frn_last_error();
  EXPECT_EQ(std::string(digest), SelectionDigest().finish());
  std::string path = testing::TempDir() + "fresnel_digest.ftdb";
  Record record;
  record.trial.problem = *parseProblem(R"({"op": "x", "operands": [], "attributes": {}})");
  record.trial.device = {"Fake GPU", 90, 132};
  record.trial.run = record.trial.kernel = record.trial.compiler = "test";
  record.trial.schedule = "{}";
  record.trial.us = {1, 1, 1, 1, 1};
  record.trial.verified = {0, 0};
  Database database;
  database.insert(record);
  ASSERT_TRUE(writeFileAtomically(path, {makePack(database.records())}).ok());
  ASSERT_EQ(frn_selection_digest(path.c_str(), 0, other), FRN_OK) << frn_last_error();
  SelectionDigest expected;
  expected.add(Selection(database, record.trial.device));
  EXPECT_EQ(std::string(other), expected.finish());
  EXPECT_STRNE(digest, other);
  EXPECT_EQ(frn_selection_digest(path.c_str(), 5, other), FRN_CUDA_ERROR);
  EXPECT_EQ(frn_selection_digest(path.c_str(), 0, nullptr), FRN_INVALID_ARGUMENT);
}

TEST_F(RuntimeTest, TraceHoldsEveryMethodOnce) {
  std::string path = testing::TempDir() + "fresnel_runtime_trace." + std::to_string(getpid());
  setenv("FRESNEL_TRACE", path.c_str(), 1);
  Bundle bundle = makeBundle();
  bundle.manifest.program = "module {}";
  for (int i = 0; i < 2; ++i)
    ASSERT_TRUE(bool(load(bundle)));
  Bundle gradient = makeGradientBundle();
  gradient.manifest.program = "module {}";
  ASSERT_TRUE(bool(load(gradient)));
  setenv("FRESNEL_TRACE", "/nonexistent/trace", 1);
  auto plan = load(bundle);
  ASSERT_TRUE(bool(plan)) << "a trace that cannot be written is no reason not to run";
  ASSERT_EQ(plan->warnings().size(), 1u);
  EXPECT_NE(plan->warnings()[0].find("FRESNEL_TRACE: cannot write '/nonexistent/trace'"), std::string::npos);
  unsetenv("FRESNEL_TRACE");
  std::vector<std::string> warnings;
  auto workloads = readWorkloads(path, warnings);
  ASSERT_TRUE(bool(workloads) && workloads->size() == 2 && warnings.empty());
  EXPECT_EQ((*workloads)[0].method, "test");
  EXPECT_EQ((*workloads)[0].dtype, "bf16");
  EXPECT_EQ((*workloads)[0].device.name, "Fake GPU");
  EXPECT_FALSE((*workloads)[0].grad);
  EXPECT_TRUE((*workloads)[1].grad);
}

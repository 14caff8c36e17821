//===- RuntimeSupport.h - Bundles and a fixture on the fake driver -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TESTS_UNIT_RUNTIME_RUNTIMESUPPORT_H
#define FRESNEL_TESTS_UNIT_RUNTIME_RUNTIMESUPPORT_H

#include "fresnel/Runtime/Plan.h"
#include <cstdlib>
#include <dlfcn.h>
#include <gtest/gtest.h>

namespace fresnel::rt {

/// One kernel of an input and an output.
inline Bundle makeBundle() {
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
inline Bundle makeGradientBundle() {
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

  /// What the backward plan of `makeGradientBundle` takes.
  std::vector<TensorArg> makeGradients() {
    TensorArg dx = args[0];
    dx.data = reinterpret_cast<void *>(0x3000);
    return {args[0], args[1], dx};
  }

  std::vector<int64_t> shape{1, 2, 64, 32}, strides{4096, 32, 64, 1}, outShape{1, 2, 64}, outStrides{128, 64, 1};
  std::vector<TensorArg> args{{reinterpret_cast<void *>(0x1000), DType::BF16, shape.data(), strides.data(), 4},
                              {reinterpret_cast<void *>(0x2000), DType::F32, outShape.data(), outStrides.data(), 3}};
  void *workspace = reinterpret_cast<void *>(0x8000);
  void *fake = nullptr;
};

} // namespace fresnel::rt

#endif // FRESNEL_TESTS_UNIT_RUNTIME_RUNTIMESUPPORT_H

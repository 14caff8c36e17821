//===- DLPackTest.cpp - Tensors of other libraries in the C interface
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/c/DLPack.h"
#include "fresnel/Artifact/Bundle.h"
#include "fresnel/c/fresnel.h"
#include <cstdlib>
#include <gtest/gtest.h>

using namespace fresnel::rt;

namespace {

class DLPackTest : public testing::Test {
protected:
  dlpack::Tensor makeTensor() {
    return {reinterpret_cast<void *>(0x1000), {dlpack::kCuda, 0}, 4, {dlpack::kBfloat, 16, 1}, shape, strides, 0};
  }

  frn_status read(const dlpack::Tensor &tensor, int device = 0) {
    dlpack::Managed managed{tensor, nullptr, nullptr};
    return frn_tensor_from_dlpack(reinterpret_cast<DLManagedTensor *>(&managed), device, made, &view);
  }

  frn_status readVersioned(uint32_t major, uint64_t flags, bool isOutput) {
    dlpack::Versioned managed{major, 7, nullptr, nullptr, flags, makeTensor()};
    return frn_tensor_from_dlpack_versioned(reinterpret_cast<DLManagedTensorVersioned *>(&managed), 0, isOutput, made,
                                            &view);
  }

  void expectRefused(frn_status status, const std::string &part) {
    EXPECT_EQ(status, FRN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(frn_last_error()).find(part), std::string::npos) << frn_last_error();
  }

  int64_t shape[4] = {1, 2, 64, 32}, strides[4] = {4096, 32, 64, 1}, made[FRN_MAX_RANK] = {};
  frn_tensor view = {};
};

} // namespace

TEST_F(DLPackTest, ViewsPointIntoTheTensor) {
  dlpack::Tensor tensor = makeTensor();
  tensor.byteOffset = 32;
  ASSERT_EQ(read(tensor), FRN_OK) << frn_last_error();
  EXPECT_EQ(view.data, reinterpret_cast<void *>(0x1020));
  EXPECT_EQ(view.dtype, FRN_BF16);
  EXPECT_EQ(view.rank, 4);
  EXPECT_EQ(view.shape, shape);
  EXPECT_EQ(view.strides, strides);
  ASSERT_EQ(readVersioned(1, dlpack::kReadOnly | dlpack::kIsCopied, false), FRN_OK) << frn_last_error();
  EXPECT_EQ(view.data, reinterpret_cast<void *>(0x1000));
}

TEST_F(DLPackTest, ContiguousTensorsMayHaveNoStrides) {
  dlpack::Tensor tensor = makeTensor();
  tensor.strides = nullptr;
  ASSERT_EQ(read(tensor), FRN_OK) << frn_last_error();
  EXPECT_EQ(view.strides, made);
  EXPECT_EQ(std::vector<int64_t>(made, made + 4), (std::vector<int64_t>{4096, 2048, 32, 1}));
  tensor.rank = 0;
  tensor.shape = nullptr;
  EXPECT_EQ(read(tensor), FRN_OK) << frn_last_error();
  // What no memory holds: the launch refuses the shape, here nothing may overflow.
  shape[0] = shape[1] = shape[2] = INT64_MAX;
  tensor = makeTensor();
  tensor.strides = nullptr;
  EXPECT_EQ(read(tensor), FRN_OK);
}

TEST_F(DLPackTest, TypesOfTheKernelsAreTaken) {
  const std::pair<dlpack::DataType, frn_dtype> taken[] = {
      {{dlpack::kFloat, 32, 1}, FRN_F32}, {{dlpack::kBfloat, 16, 1}, FRN_BF16}, {{dlpack::kFloat, 16, 1}, FRN_F16},
      {{dlpack::kInt, 32, 1}, FRN_I32},   {{dlpack::kBool, 8, 1}, FRN_I8},      {{dlpack::kUint, 8, 1}, FRN_I8},
      {{dlpack::kInt, 8, 1}, FRN_I8}};
  dlpack::Tensor tensor = makeTensor();
  for (auto [dtype, expected] : taken) {
    tensor.dtype = dtype;
    ASSERT_EQ(read(tensor), FRN_OK) << frn_last_error();
    EXPECT_EQ(view.dtype, expected);
  }
  for (dlpack::DataType dtype :
       {dlpack::DataType{dlpack::kFloat, 64, 1}, {dlpack::kInt, 64, 1}, {1, 32, 1}, {6, 16, 1}}) {
    tensor.dtype = dtype;
    expectRefused(read(tensor), "has type code " + std::to_string(dtype.code) + " with " + std::to_string(dtype.bits) +
                                    " bits and 1 lanes, but f32 (2, 32, 1), bf16");
  }
  tensor.dtype = {dlpack::kFloat, 16, 2};
  expectRefused(read(tensor), "16 bits and 2 lanes");
}

TEST_F(DLPackTest, EveryFieldIsChecked) {
  auto change = [&](auto body) {
    dlpack::Tensor tensor = makeTensor();
    body(tensor);
    return read(tensor);
  };
  expectRefused(change([](auto &t) { t.device.type = dlpack::kCpu; }),
                "on device type 1 (CPU), but the kernels run on");
  expectRefused(change([](auto &t) { t.device.type = dlpack::kCudaHost; }), "type 3 (pinned memory of the CPU)");
  expectRefused(change([](auto &t) { t.device.type = 14; }), "type 14, but");
  expectRefused(change([](auto &t) { t.device.id = 1; }), "is on GPU 1, but the plan is on GPU 0");
  expectRefused(change([](auto &t) { t.rank = 9; }), "has rank 9, but ranks from 0 to 8 are taken");
  expectRefused(change([](auto &t) { t.rank = -1; }), "has rank -1");
  expectRefused(change([](auto &t) { t.shape = nullptr; }), "has rank 4, but no shape");
  expectRefused(change([](auto &t) { t.data = nullptr; }), "is a null pointer");
  expectRefused(change([](auto &t) { t.byteOffset = 8; }), "starts 8 bytes past a multiple of 16 (byte_offset is 8)");
  EXPECT_EQ(change([](auto &t) { t.data = static_cast<char *>(t.data) + 8, t.byteOffset = 8; }), FRN_OK);
  shape[2] = -64;
  expectRefused(change([](auto &) {}), "has size -64 in dimension 2");
  dlpack::Managed managed{makeTensor(), nullptr, nullptr};
  auto *pointer = reinterpret_cast<DLManagedTensor *>(&managed);
  expectRefused(frn_tensor_from_dlpack(nullptr, 0, made, &view), "must not be null");
  expectRefused(frn_tensor_from_dlpack(pointer, 0, nullptr, &view), "must not be null");
  expectRefused(frn_tensor_from_dlpack(pointer, 0, made, nullptr), "must not be null");
}

TEST_F(DLPackTest, VersionAndFlagsAreChecked) {
  EXPECT_EQ(readVersioned(1, 0, true), FRN_OK) << frn_last_error();
  expectRefused(readVersioned(2, 0, false),
                "has version 2.7, but version 1 is read; export it with max_version (1, 0)");
  expectRefused(readVersioned(0, 0, false), "has version 0.7");
  expectRefused(readVersioned(1, dlpack::kReadOnly, true), "is read-only, but the kernels write to it");
  expectRefused(readVersioned(1, dlpack::kIsCopied, true), "what the kernels write would be lost");
  expectRefused(frn_tensor_from_dlpack_versioned(nullptr, 0, 0, made, &view), "must not be null");
}

TEST_F(DLPackTest, ViewsCanBeLaunchedOn) {
  setenv("FRESNEL_CUDA_DRIVER", FAKE_DRIVER, 1);
  Bundle bundle;
  Manifest &manifest = bundle.manifest;
  manifest.name = "test";
  manifest.fresnelVersion = manifest.llvmVersion = "1";
  manifest.target = {"sm_90a", "8.0", 12000, 9, 0, true};
  manifest.buffers = {{"x", BufferKind::Input, DType::BF16, {1, 2, 64, 32}, 0},
                      {"y", BufferKind::Output, DType::BF16, {1, 2, 64, 32}, 0}};
  Kernel kernel;
  kernel.name = kernel.entry = "kernel";
  kernel.op = "fresnel.norm";
  kernel.params = {
      {ParamKind::Pointer, 0}, {ParamKind::Pointer, 1}, {ParamKind::Stride, 0, 2}, {ParamKind::Stride, 1, 2}};
  manifest.kernels = {kernel};
  manifest.launches = {{0, {0, 1}}};
  bundle.ptx = {".version 8.0"};
  Expected<std::string> content = serializeBundle("test", manifest, bundle.ptx);
  ASSERT_TRUE(bool(content)) << content.status().message();
  frn_plan *plan = nullptr;
  ASSERT_EQ(frn_plan_load_memory(content->data(), content->size(), 0, &plan), FRN_OK) << frn_last_error();
  frn_tensor tensors[2];
  ASSERT_EQ(read(makeTensor()), FRN_OK) << frn_last_error();
  tensors[0] = view;
  dlpack::Tensor result = makeTensor();
  result.strides = nullptr;
  result.byteOffset = 8192;
  ASSERT_EQ(read(result), FRN_OK) << frn_last_error();
  tensors[1] = view;
  frn_memory memory = {};
  EXPECT_EQ(frn_plan_run(plan, FRN_FORWARD, tensors, 2, &memory, nullptr), FRN_OK) << frn_last_error();
  shape[3] = 31;
  EXPECT_EQ(frn_plan_run(plan, FRN_FORWARD, tensors, 2, &memory, nullptr), FRN_INVALID_ARGUMENT);
  EXPECT_STREQ(frn_last_error(), "tensor 'x' has size 31 in dimension 3, but 32 is expected");
  frn_plan_destroy(plan);
}

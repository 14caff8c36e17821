//===- CInterfaceTest.cpp - The C interface on a fake driver; digests and traces
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "RuntimeSupport.h"
#include "fresnel/Artifact/File.h"
#include "fresnel/Tuning/Selection.h"
#include "fresnel/Tuning/Workload.h"
#include "fresnel/c/fresnel.h"
#include <unistd.h>

using namespace fresnel::rt;

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

TEST_F(RuntimeTest, KernelsSayWhatChoseTheirSchedules) {
  Bundle bundle = makeGradientBundle();
  std::vector<Kernel> &kernels = bundle.manifest.kernels;
  kernels.resize(4, kernels[0]);
  for (size_t i = 0; i < kernels.size(); ++i)
    kernels[i].name = kernels[i].entry = "kernel" + std::to_string(i);
  kernels[0].schedule = R"({"family": "simt"})";
  kernels[0].choice = R"({"source": "exact", "us": 3.5})";
  kernels[1].choice = R"({"source": "nearest"})";
  kernels[3].choice = R"({"source": "oracle"})";
  bundle.ptx.resize(4, bundle.ptx[0]);
  bundle.manifest.launches = {{1, {0, 3, 2}}, {0, {0, 3, 2}}, {1, {0, 3, 2}}};
  bundle.manifest.backward->launches = {{2, {0, 2, 3}}, {3, {0, 2, 3}}};
  Expected<std::string> content = serializeBundle("test", bundle.manifest, bundle.ptx);
  ASSERT_TRUE(bool(content)) << content.status().message();
  frn_plan *plan = nullptr;
  ASSERT_EQ(frn_plan_load_memory(content->data(), content->size(), 0, &plan), FRN_OK) << frn_last_error();
  size_t count = 0;
  ASSERT_EQ(frn_plan_count_kernels(plan, FRN_FORWARD, &count), FRN_OK);
  EXPECT_EQ(count, 3u);
  frn_kernel kernel;
  ASSERT_EQ(frn_plan_get_kernel(plan, FRN_FORWARD, 1, &kernel), FRN_OK) << frn_last_error();
  EXPECT_STREQ(kernel.name, "kernel0");
  EXPECT_STREQ(kernel.op, "fresnel.norm");
  EXPECT_NE(std::string(kernel.schedule).find("simt"), std::string::npos);
  EXPECT_EQ(kernel.choice, FRN_EXACT);
  ASSERT_EQ(frn_plan_get_kernel(plan, FRN_FORWARD, 2, &kernel), FRN_OK);
  EXPECT_EQ(kernel.choice, FRN_NEAREST);
  ASSERT_EQ(frn_plan_get_kernel(plan, FRN_BACKWARD, 0, &kernel), FRN_OK);
  EXPECT_EQ(kernel.choice, FRN_HEURISTIC) << "no database was asked";
  EXPECT_EQ(frn_plan_get_kernel(plan, FRN_BACKWARD, 1, &kernel), FRN_UNSUPPORTED);
  EXPECT_NE(std::string(frn_last_error()).find("kernel 'kernel3' is from the source \"oracle\""), std::string::npos);
  EXPECT_EQ(frn_plan_get_kernel(plan, FRN_FORWARD, 3, &kernel), FRN_INVALID_ARGUMENT);
  EXPECT_STREQ(frn_last_error(), "kernel 3 of 3 was asked for");
  EXPECT_EQ(frn_plan_get_kernel(plan, FRN_FORWARD, 0, nullptr), FRN_INVALID_ARGUMENT);
  EXPECT_EQ(frn_plan_get_kernel(nullptr, FRN_FORWARD, 0, &kernel), FRN_INVALID_ARGUMENT);
  EXPECT_EQ(frn_plan_count_kernels(plan, FRN_FORWARD, nullptr), FRN_INVALID_ARGUMENT);
  EXPECT_EQ(frn_plan_count_kernels(plan, static_cast<frn_direction>(2), &count), FRN_INVALID_ARGUMENT);
  frn_plan_destroy(plan);
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
  setenv("FRESNEL_DB", "/nonexistent", 1);
  ASSERT_EQ(frn_selection_digest(nullptr, 0, digest), FRN_OK) << frn_last_error();
  EXPECT_EQ(std::string(digest), SelectionDigest().finish()) << "the user's database need not be there yet";
  unsetenv("FRESNEL_DB");
  EXPECT_EQ(frn_selection_digest("/nonexistent", 0, other), FRN_IO_ERROR) << "one that is named must";
  EXPECT_NE(std::string(frn_last_error()).find("/nonexistent: no such database"), std::string::npos);
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

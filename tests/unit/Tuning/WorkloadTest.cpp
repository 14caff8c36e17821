//===- WorkloadTest.cpp - The file of FRESNEL_TRACE
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Tuning/Workload.h"
#include "fresnel/Artifact/File.h"
#include <algorithm>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace fresnel::rt;

namespace {

Workload makeWorkload(int length) {
  Workload workload;
  workload.method = "dense";
  workload.parameters = R"({"seq_len":")" + std::to_string(length) + R"("})";
  workload.dtype = "bf16";
  workload.target = "sm_90a";
  workload.grad = true;
  workload.device = {"Fake GPU", 90, 132};
  workload.program = "module {\n}\n";
  return workload;
}

std::string makePath(const std::string &name) {
  std::string path = testing::TempDir() + "fresnel_trace_" + std::to_string(getpid()) + name;
  unlink(path.c_str());
  return path;
}

std::vector<Workload> read(const std::string &path, std::vector<std::string> &warnings) {
  Expected<std::vector<Workload>> workloads = readWorkloads(path, warnings);
  EXPECT_TRUE(bool(workloads)) << workloads.status().message();
  return workloads ? *workloads : std::vector<Workload>();
}

} // namespace

TEST(Workload, RoundTrip) {
  std::string text = toJson(makeWorkload(64));
  Expected<Workload> workload = parseWorkload(text);
  ASSERT_TRUE(bool(workload)) << workload.status().message();
  EXPECT_EQ(toJson(*workload), text);
  EXPECT_EQ(workload->device.multiprocessors, 132);
  EXPECT_TRUE(workload->grad);
}

TEST(Workload, RefusalsNameTheMember) {
  std::string good = toJson(makeWorkload(64));
  auto expectRefused = [&](const std::string &from, const std::string &to, const std::string &part) {
    std::string text = good;
    ASSERT_NE(text.find(from), std::string::npos);
    text.replace(text.find(from), from.size(), to);
    Status status = parseWorkload(text).status();
    EXPECT_NE(status.message().find(part), std::string::npos) << text << ": " << status.message();
  };
  expectRefused("fresnel.workload/1", "fresnel.workload/2", "schema 'fresnel.workload/2'");
  expectRefused(R"("method":"dense")", R"("method":1)", "'method'");
  expectRefused(R"("grad":true)", R"("grad":"yes")", "'grad'");
  expectRefused(R"("parameters":{)", R"("other":{)", "'parameters'");
  expectRefused(R"("compute":90)", R"("compute":-1)", "'device/compute'");
  expectRefused(R"("device":{)", R"("gpu":{)", "'device'");
  EXPECT_NE(parseWorkload("[]").status().message().find("not a JSON object"), std::string::npos);
}

TEST(Workload, EachIsRecordedOnce) {
  std::string path = makePath("once");
  for (int i = 0; i < 3; ++i)
    for (int length : {64, 128})
      ASSERT_TRUE(recordWorkload(path, makeWorkload(length)).ok());
  std::vector<std::string> warnings;
  EXPECT_EQ(read(path, warnings).size(), 2u);
  EXPECT_TRUE(warnings.empty());
  EXPECT_EQ(*readFile(path), toJson(makeWorkload(64)) + "\n" + toJson(makeWorkload(128)) + "\n");
  EXPECT_EQ(recordWorkload("/nonexistent/trace", makeWorkload(64)).code(), Code::IoError);
}

TEST(Workload, ManyProcessesAndThreadsKeepLinesWhole) {
  std::string path = makePath("many");
  std::vector<pid_t> children;
  for (int p = 0; p < 8; ++p) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      bool ok = true;
      std::vector<std::thread> threads;
      for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
          for (int i = 0; i < 10; ++i)
            ok = recordWorkload(path, makeWorkload(t * 5 + i)).ok() && ok;
        });
      for (std::thread &thread : threads)
        thread.join();
      _exit(ok ? 0 : 1);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = 1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  std::vector<std::string> warnings;
  EXPECT_EQ(read(path, warnings).size(), 25u);
  EXPECT_TRUE(warnings.empty());
  std::string content = *readFile(path);
  EXPECT_EQ(std::count(content.begin(), content.end(), '\n'), 25) << "a line was written twice";
}

TEST(Workload, TornAndDamagedLinesAreLeftOut) {
  std::string path = makePath("torn"), line = toJson(makeWorkload(64));
  ASSERT_TRUE(writeFileAtomically(path, {"{}\n", line.substr(0, 20)}).ok());
  ASSERT_TRUE(recordWorkload(path, makeWorkload(64)).ok());
  std::vector<std::string> warnings;
  EXPECT_EQ(read(path, warnings).size(), 1u);
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_NE(warnings[0].find(":1: left out: schema ''"), std::string::npos) << warnings[0];
}

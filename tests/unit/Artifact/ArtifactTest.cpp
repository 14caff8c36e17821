//===- ArtifactTest.cpp - Formats: round trips and refusals
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/Bundle.h"
#include "fresnel/Artifact/File.h"
#include "fresnel/Artifact/Safetensors.h"
#include "fresnel/Artifact/Sha256.h"
#include <cmath>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace fresnel::rt;

namespace {

std::string temporaryPath(const std::string &name) {
  return testing::TempDir() + "fresnel_" + std::to_string(getpid()) + "_" + name;
}

Manifest makeManifest() {
  Manifest manifest;
  manifest.name = "test";
  manifest.fresnelVersion = "0.1.0";
  manifest.llvmVersion = "22.1.8";
  manifest.target = {"sm_90a", "8.0", 12000, 9, 0, true};
  manifest.program = "fresnel.program @test() {}";
  manifest.buffers = {{"q", BufferKind::Input, DType::BF16, {1, 2, 64, 32}, 0},
                      {"t", BufferKind::Temporary, DType::F32, {1, 2, 64}, 256},
                      {"out", BufferKind::Output, DType::BF16, {1, 2, 64, 32}, 0}};
  manifest.workspaceBytes = 1024;
  Kernel kernel;
  kernel.name = kernel.entry = "kernel_0";
  kernel.op = "fresnel.norm";
  kernel.block = {256, 1, 1};
  kernel.grid = {8, 2, 1};
  kernel.params = {{ParamKind::Pointer, 0}, {ParamKind::Stride, 0, 2}, {ParamKind::Pointer, 1}};
  manifest.kernels = {kernel, kernel};
  manifest.launches = {{0, {0, 1}}, {1, {0, 2}}};
  return manifest;
}

std::string writeTestBundle(const std::string &name) {
  std::string path = temporaryPath(name);
  EXPECT_TRUE(writeBundle(path, makeManifest(), {"first ptx", std::string(100, 'x')}).ok());
  Expected<std::string> content = readFile(path);
  EXPECT_TRUE(bool(content));
  std::remove(path.c_str());
  return *content;
}

} // namespace

TEST(Manifest, CostAndDependentLaunchComeBack) {
  Manifest manifest = makeManifest();
  manifest.kernels[0].cost = Cost{100, 20, 3, false};
  manifest.kernels[0].dependentLaunch = true;
  // As the writer of a bundle places the texts.
  for (Kernel &kernel : manifest.kernels) {
    kernel.ptxSize = 1;
    kernel.ptxSha256 = std::string(64, '0');
  }
  std::string text = toJson(manifest);
  Expected<Manifest> read = parseManifest(text);
  ASSERT_TRUE(bool(read)) << read.status().message();
  const std::optional<Cost> &cost = read->kernels[0].cost;
  ASSERT_TRUE(cost.has_value());
  EXPECT_EQ(std::make_tuple(cost->bytesRead, cost->bytesWritten, cost->flops, cost->exact),
            std::make_tuple(100, 20, 3, false));
  EXPECT_EQ(cost->bytes(), 120);
  EXPECT_TRUE(read->kernels[0].dependentLaunch);
  // Bundles from before have neither.
  EXPECT_FALSE(read->kernels[1].cost.has_value());
  EXPECT_FALSE(read->kernels[1].dependentLaunch);

  text.replace(text.find("\"flops\": 3"), 10, "\"flops\": -3");
  EXPECT_NE(parseManifest(text).status().message().find("/kernels/0/cost/flops: -3 is outside"), std::string::npos);
}

TEST(Manifest, SlicesComeBackAndAreChecked) {
  Manifest manifest = makeManifest();
  for (Kernel &kernel : manifest.kernels) {
    kernel.ptxSize = 1;
    kernel.ptxSha256 = std::string(64, '0');
  }
  // Readers of format 1 would compute the first slice only.
  EXPECT_NE(toJson(manifest).find("\"major\": 1"), std::string::npos);
  manifest.formatMajor = kFormatMajor;
  manifest.slices = manifest.buffers[0].slices = manifest.buffers[2].slices = {1, 2};
  manifest.launches.push_back({0, {0, 1}, 1});
  Expected<Manifest> read = parseManifest(toJson(manifest));
  ASSERT_TRUE(bool(read)) << read.status().message();
  EXPECT_EQ(read->slices, (Slices{1, 2}));
  EXPECT_EQ(read->buffers[0].sizeInSlice(1), 1);
  EXPECT_EQ(read->buffers[1].sizeInSlice(1), 2);
  EXPECT_EQ(read->launches.back().slice, 1);

  auto expectRefused = [](const Manifest &wrong, const std::string &what) {
    std::string message = parseManifest(toJson(wrong)).status().message();
    EXPECT_NE(message.find(what), std::string::npos) << message;
  };
  Manifest wrong = manifest;
  wrong.launches.back().slice = 2;
  expectRefused(wrong, "/launches/2: slice 2 comes behind slice 0");
  wrong.launches.back().slice = 0;
  wrong.launches[1].slice = 1;
  expectRefused(wrong, "/launches/2: slice 0 comes behind slice 1");
  wrong = manifest;
  wrong.slices = {1, 1};
  expectRefused(wrong, "/launches: slice 1 of 1");
  wrong = manifest;
  wrong.buffers[0].slices = {1, 3};
  expectRefused(wrong, "/buffers/0/slices: dimension 1 cannot be cut into 3");
  wrong = manifest;
  wrong.slices = {1, 4};
  expectRefused(wrong, "/buffers/0/slices: 2 slices in a plan of 4");
}

TEST(Sha256, NistVectors) {
  EXPECT_EQ(toHex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(toHex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(toHex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(toHex(sha256(std::string(1000000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(DType, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    if (!std::isnan(fromF16(uint16_t(bits)))) {
      ASSERT_EQ(toF16(fromF16(uint16_t(bits))), bits);
    }
    if (!std::isnan(fromBf16(uint16_t(bits)))) {
      ASSERT_EQ(toBf16(fromBf16(uint16_t(bits))), bits);
    }
  }
}

TEST(DType, RoundsToNearestEven) {
  EXPECT_EQ(fromBf16(toBf16(1.0f + 0x1p-8f)), 1.0f);
  EXPECT_EQ(fromBf16(toBf16(1.0f + 0x3p-8f)), 1.0f + 0x1p-6f);
  EXPECT_EQ(fromF16(toF16(1.0f + 0x1p-11f)), 1.0f);
  EXPECT_EQ(fromF16(toF16(0x1p-25f)), 0.0f);
  EXPECT_EQ(fromF16(toF16(0x1.8p-25f)), 0x1p-24f);
  EXPECT_EQ(fromF16(toF16(65519.0f)), 65504.0f);
  EXPECT_TRUE(std::isinf(fromF16(toF16(65520.0f))));
  EXPECT_TRUE(std::isnan(fromBf16(toBf16(std::nanf("")))));
}

TEST(Manifest, RoundTrip) {
  Manifest manifest = makeManifest();
  for (Kernel &kernel : manifest.kernels) {
    kernel.ptxSize = 1;
    kernel.ptxSha256 = "0";
  }
  Expected<Manifest> read = parseManifest(toJson(manifest));
  ASSERT_TRUE(bool(read)) << read.status().message();
  EXPECT_EQ(toJson(*read), toJson(manifest));
  EXPECT_EQ(read->findBuffer("out")->shape, (std::vector<int64_t>{1, 2, 64, 32}));
  EXPECT_EQ(read->findBuffer("none"), nullptr);
}

TEST(Manifest, RefusalsNameThePlace) {
  auto refuse = [](const std::string &from, const std::string &to, const std::string &expected) {
    Manifest manifest = makeManifest();
    for (Kernel &kernel : manifest.kernels) {
      kernel.ptxSize = 1;
      kernel.ptxSha256 = "0";
    }
    std::string json = toJson(manifest);
    size_t at = json.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    json.replace(at, from.size(), to);
    Expected<Manifest> read = parseManifest(json);
    ASSERT_FALSE(bool(read)) << from;
    EXPECT_NE(read.status().message().find(expected), std::string::npos) << read.status().message();
  };
  refuse("\"major\": 1", "\"major\": 3", "version 3 cannot be read, this library reads versions 1 to 2");
  refuse("\"bf16\"", "\"fp8\"", "/buffers/0/dtype: unknown dtype 'fp8'");
  refuse("\"kind\": \"stride\"", "\"kind\": \"size\"", "/kernels/0/params/1/kind: unknown kind 'size'");
  refuse("\"kernel\": 1", "\"kernel\": 7", "/launches/1/kernel: 7 is outside [0, 1]");
  refuse("\"offset\": 256", "\"offset\": 900", "/buffers/1: the temporary ends beyond the workspace");
  refuse("\"dim\": 2", "\"dim\": 5", "stride 5 of a tensor of rank 4");
  refuse("\"workspace\"", "\"workspaces\"", "'workspace' is missing");
}

namespace {
/// `makeManifest` with a backward plan that reads `q` and a saved tensor.
Manifest makeGradientManifest() {
  Manifest manifest = makeManifest();
  for (Kernel &kernel : manifest.kernels) {
    kernel.ptxSize = 1;
    kernel.ptxSha256 = "0";
  }
  manifest.buffers.push_back({"saved0_norm", BufferKind::Output, DType::F32, {1, 2, 64}, 0, 256});
  manifest.launches.push_back({0, {0, 3}});
  manifest.savedBytes = 768;
  Plan &backward = manifest.backward.emplace();
  backward.buffers = {{"q", BufferKind::Input, DType::BF16, {1, 2, 64, 32}, 0},
                      {"dout", BufferKind::Input, DType::BF16, {1, 2, 64, 32}, 0},
                      {"saved0_norm", BufferKind::Input, DType::F32, {1, 2, 64}, 0, 256},
                      {"dq", BufferKind::Output, DType::BF16, {1, 2, 64, 32}, 0}};
  backward.launches = {{1, {0, 3}}};
  return manifest;
}
} // namespace

TEST(Manifest, RoundTripWithTwoPlans) {
  Manifest manifest = makeGradientManifest();
  Expected<Manifest> read = parseManifest(toJson(manifest));
  ASSERT_TRUE(bool(read)) << read.status().message();
  EXPECT_EQ(toJson(*read), toJson(manifest));
  ASSERT_TRUE(read->backward.has_value());
  EXPECT_EQ(read->savedBytes, 768);
  EXPECT_EQ(read->backward->findBuffer("saved0_norm")->savedOffset, 256);
  EXPECT_FALSE(read->backward->findBuffer("dout")->isSaved());
}

TEST(Manifest, BundlesOfTheFirstFormatStillLoad) {
  Manifest manifest = makeManifest();
  manifest.formatMinor = 0;
  for (Kernel &kernel : manifest.kernels) {
    kernel.ptxSize = 1;
    kernel.ptxSha256 = "0";
  }
  Expected<Manifest> read = parseManifest(toJson(manifest));
  ASSERT_TRUE(bool(read)) << read.status().message();
  EXPECT_FALSE(read->backward.has_value());
  EXPECT_EQ(read->savedBytes, 0);
}

TEST(Manifest, PlansThatDisagreeAreRefused) {
  auto refuse = [](auto change, const std::string &expected) {
    Manifest manifest = makeGradientManifest();
    change(manifest);
    Expected<Manifest> read = parseManifest(toJson(manifest));
    ASSERT_FALSE(bool(read)) << expected;
    EXPECT_NE(read.status().message().find(expected), std::string::npos) << read.status().message();
  };
  refuse([](Manifest &m) { m.savedBytes = 512; }, "/buffers/3: the saved tensor is not at a multiple of 256 within");
  refuse([](Manifest &m) { m.buffers[3].savedOffset = m.backward->buffers[2].savedOffset = 8; }, "multiple of 256");
  refuse([](Manifest &m) { m.buffers[0].savedOffset = 0; }, "/buffers/0: an input of the forward plan cannot be");
  refuse([](Manifest &m) { m.backward->buffers[3].savedOffset = 0; }, "an output of the backward plan cannot be");
  refuse([](Manifest &m) { m.backward->buffers[2].savedOffset = 0; }, "saves no tensor 'saved0_norm' there");
  refuse([](Manifest &m) { m.backward->buffers[2].name = "other"; }, "saves no tensor 'other' there");
  refuse([](Manifest &m) { m.backward->buffers[2].shape = {1, 2, 32}; }, "'saved0_norm' is another tensor");
  refuse([](Manifest &m) { m.backward->buffers[0].dtype = DType::F16; }, "/backward/buffers/0: 'q' is another tensor");
  refuse([](Manifest &m) { m.backward->launches[0].kernel = 7; }, "/backward/launches/0/kernel: 7 is outside [0, 1]");
  refuse([](Manifest &m) { m.backward.reset(); }, "/buffers/3: the saved tensor");
}

TEST(Bundle, RoundTrip) {
  std::string content = writeTestBundle("round.fkb");
  Expected<Bundle> bundle = parseBundle("round", content);
  ASSERT_TRUE(bool(bundle)) << bundle.status().message();
  EXPECT_EQ(bundle->ptx, (std::vector<std::string>{"first ptx", std::string(100, 'x')}));
  EXPECT_EQ(bundle->manifest.kernels[1].ptxOffset % 64, 0);
}

TEST(Bundle, EveryTruncationIsRefused) {
  std::string content = writeTestBundle("cut.fkb");
  for (size_t length = 0; length < content.size(); ++length)
    ASSERT_FALSE(bool(parseBundle("cut", content.substr(0, length)))) << length;
  EXPECT_FALSE(bool(parseBundle("longer", content + "x")));
}

TEST(Bundle, EveryBitFlipIsRefused) {
  std::string content = writeTestBundle("flip.fkb");
  for (size_t bit = 0; bit < content.size() * 8; ++bit) {
    std::string damaged = content;
    damaged[bit / 8] = char(damaged[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_FALSE(bool(parseBundle("flip", damaged))) << "bit " << bit;
  }
}

TEST(Bundle, UnwritableOutputLeavesNothing) {
  Status status = writeBundle("/nonexistent-folder/x.fkb", makeManifest(), {"a", "b"});
  EXPECT_EQ(status.code(), Code::IoError);
  EXPECT_NE(status.message().find("/nonexistent-folder/x.fkb"), std::string::npos);
  // A folder in the place of the file: the temporary file must be gone again.
  std::string path = temporaryPath("folder");
  ASSERT_EQ(std::system(("mkdir -p " + path + "/x").c_str()), 0);
  EXPECT_FALSE(writeBundle(path, makeManifest(), {"a", "b"}).ok());
  EXPECT_NE(std::system(("ls " + path + ".tmp.* 2>/dev/null").c_str()), 0);
  EXPECT_EQ(std::system(("rm -r " + path).c_str()), 0);
}

TEST(Bundle, WhatCannotBeReadIsNotWritten) {
  std::string path = temporaryPath("refused.fkb");
  auto refuse = [&](Manifest manifest, const char *expected) {
    Status status = writeBundle(path, std::move(manifest), {"a", "b"});
    EXPECT_EQ(status.code(), Code::InvalidArgument);
    EXPECT_NE(status.message().find(expected), std::string::npos) << status.message();
    EXPECT_NE(access(path.c_str(), F_OK), 0);
  };
  Manifest manifest = makeManifest();
  manifest.kernels[1].schedule = "not json";
  refuse(manifest, "/kernels/1/schedule: an object is expected");
  manifest = makeManifest();
  manifest.parameters = "[1]";
  refuse(manifest, "/parameters: an object is expected");
  manifest = makeManifest();
  manifest.program.assign(size_t(17) << 20, 'x');
  refuse(manifest, "at most 16777216 can be read");
  manifest = makeManifest();
  manifest.kernels[0].block = {1024, 2, 1};
  refuse(manifest, "/kernels/0/block: a block has at most 1024 threads");
}

TEST(File, SpecialFilesAreNotReplaced) {
  std::string path = temporaryPath("fifo");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  Status status = writeFileAtomically(path, {"x"});
  EXPECT_NE(status.message().find("not a regular file"), std::string::npos) << status.message();
  struct stat info;
  ASSERT_EQ(lstat(path.c_str(), &info), 0);
  EXPECT_TRUE(S_ISFIFO(info.st_mode));
  std::remove(path.c_str());
}

TEST(File, TemporaryFileOfAKilledProcessDoesNotBlock) {
  std::string path = temporaryPath("stale"), stale = path + ".tmp." + std::to_string(getpid());
  ASSERT_TRUE(writeFileAtomically(stale, {"left over"}).ok());
  EXPECT_TRUE(writeFileAtomically(path, {"new"}).ok());
  EXPECT_EQ(*readFile(path), "new");
  std::remove(path.c_str());
  std::remove(stale.c_str());
}

TEST(File, NothingStaysOfAWriteThatIsEnded) {
  std::string path = temporaryPath("ended"), folder = path.substr(0, path.rfind('/') + 1);
  int probe = open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (probe < 0)
    GTEST_SKIP() << "the file system of " << folder << " has no files without names";
  close(probe);
  pid_t child = fork();
  if (child == 0) {
    // The signal ends the process in the middle of the write.
    rlimit size{1024, 1024}, none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_FSIZE, &size);
    std::signal(SIGXFSZ, SIG_DFL);
    (void)writeFileAtomically(path, {std::string(1 << 16, 'x')});
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_NE(std::system(("ls " + path + "* 2>/dev/null").c_str()), 0);
}

TEST(Safetensors, RoundTrip) {
  Safetensors file;
  file.metadata["levels"] = "3";
  file.tensors["a"] = {DType::BF16, {2, 3}, std::string(12, '\1')};
  file.tensors["b"] = {DType::I32, {1}, std::string(4, '\2')};
  std::string path = temporaryPath("round.safetensors");
  ASSERT_TRUE(writeSafetensors(path, file).ok());
  Expected<Safetensors> read = readSafetensors(path);
  std::remove(path.c_str());
  ASSERT_TRUE(bool(read)) << read.status().message();
  EXPECT_EQ(read->metadata, file.metadata);
  EXPECT_EQ(read->tensors["a"].data, file.tensors["a"].data);
  EXPECT_EQ(read->tensors["b"].shape, (std::vector<int64_t>{1}));
}

TEST(Safetensors, BytesAreMasks) {
  for (const char *type : {"I8", "U8", "BOOL"}) {
    std::string header = std::string(R"({"mask":{"dtype":")") + type + R"(","shape":[3],"data_offsets":[0,3]}})";
    std::string length(8, '\0');
    length[0] = char(header.size());
    Expected<Safetensors> read = parseSafetensors("mask", length + header + std::string("\1\0\1", 3));
    ASSERT_TRUE(bool(read)) << read.status().message();
    EXPECT_EQ(read->tensors["mask"].dtype, DType::I8);
    EXPECT_EQ(read->tensors["mask"].data, std::string("\1\0\1", 3));
  }
}

TEST(Safetensors, TensorsMayBeEmpty) {
  // Written in front of the other one, read behind it.
  std::string header = R"({"a":{"dtype":"I8","shape":[3],"data_offsets":[0,3]},)"
                       R"("b":{"dtype":"F32","shape":[0,2],"data_offsets":[0,0]}})";
  std::string length(8, '\0');
  length[0] = char(header.size());
  Expected<Safetensors> read = parseSafetensors("empty", length + header + "123");
  ASSERT_TRUE(bool(read)) << read.status().message();
  EXPECT_EQ(read->tensors["a"].data, "123");
  EXPECT_EQ(read->tensors["b"].elements(), 0);
}

TEST(Safetensors, WritesNamesThatAreNotUtf8) {
  Safetensors file;
  file.tensors["\xff"] = {DType::F32, {1}, "1234"};
  std::string path = temporaryPath("utf8.safetensors");
  ASSERT_TRUE(writeSafetensors(path, file).ok());
  EXPECT_TRUE(bool(readSafetensors(path)));
  std::remove(path.c_str());
}

TEST(Safetensors, RefusesDamage) {
  auto parse = [](const std::string &header, const std::string &data) {
    std::string length;
    for (int i = 0; i < 8; ++i)
      length += char(uint64_t(header.size()) >> (8 * i));
    return parseSafetensors("test", length + header + data).status().message();
  };
  EXPECT_EQ(parse(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "1234"), "");
  auto contains = [](const std::string &text, const char *part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(contains(parse(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "1234"), "truncated"));
  EXPECT_TRUE(
      contains(parse(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234"), "its shape needs 8"));
  EXPECT_TRUE(contains(parse(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", "12345678"), "dtype F64"));
  EXPECT_TRUE(
      contains(parse(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "12345678"), "belong to no tensor"));
  EXPECT_TRUE(contains(parse(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "12345678"),
                       "overlap or leave gaps"));
  EXPECT_TRUE(
      contains(parse(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "1234"), "impossible shape"));
  EXPECT_TRUE(contains(parse("not json", ""), "not a JSON object"));
  // What walks a JSON value recurses: depth must not be the file's choice.
  std::string deep = std::string(2000000, '[') + std::string(2000000, ']');
  EXPECT_TRUE(contains(parse("{\"__metadata__\":{\"a\":" + deep + "}}", ""), "nested more than 32 deep"));
  EXPECT_TRUE(contains(parse(R"({"__metadata__":7})", ""), "not an object"));
  EXPECT_TRUE(contains(parse(R"({"__metadata__":{"a":1}})", ""), "'a' that is not a string"));
  EXPECT_TRUE(contains(parseSafetensors("test", "1234").status().message(), "truncated"));
  EXPECT_TRUE(contains(parseSafetensors("test", std::string(8, '\xff')).status().message(), "truncated or not"));
}

//===- JitTest.cpp - Methods through the kernel cache, on a fake driver
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Jit/Jit.h"
#include "fresnel/Artifact/File.h"
#include "fresnel/Artifact/KernelCache.h"
#include "fresnel/InitAll.h"
#include "fresnel/Jit/CompilerId.h"
#include "fresnel/Tuning/Journal.h"
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace fresnel;
namespace fs = std::filesystem;

namespace {

class JitTest : public testing::Test {
protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "fresnel-jit.XXXXXX").string();
    ASSERT_TRUE(mkdtemp(name.data()));
    folder = name;
    setenv("FRESNEL_CUDA_DRIVER", FAKE_DRIVER, 1);
    setenv("FRESNEL_DB", (folder + "/database").c_str(), 1);
    unsetenv("FRESNEL_JIT");
    unsetenv("FRESNEL_FAKE");
    options.cacheFolder = folder + "/cache";
    options.warn = [this](const std::string &warning) { warnings.push_back(warning); };
    request.method = "dense";
    request.parameters = {{"seq_len", "64"}, {"head_dim", "32"}, {"heads", "1"}, {"kv_heads", "1"}};
    request.target.name = "sm_80";
  }
  void TearDown() override { fs::remove_all(folder); }

  JitBundle make() {
    rt::Expected<JitBundle> bundle = jitBundle(request, options);
    EXPECT_TRUE(bool(bundle)) << bundle.status().message();
    return bundle ? std::move(*bundle) : JitBundle();
  }
  void expectRefused(rt::Code code, const std::string &part) {
    rt::Expected<JitBundle> bundle = jitBundle(request, options);
    ASSERT_FALSE(bool(bundle));
    EXPECT_EQ(bundle.status().code(), code);
    EXPECT_NE(bundle.status().message().find(part), std::string::npos) << bundle.status().message();
  }
  /// Names of all files of the cache, and how many there are.
  size_t countFiles() const {
    size_t count = 0;
    for (const auto &entry : fs::recursive_directory_iterator(options.cacheFolder))
      count += entry.is_regular_file();
    return count;
  }
  static std::string read(const std::string &path) {
    rt::Expected<std::string> content = rt::readFile(path);
    EXPECT_TRUE(bool(content)) << content.status().message();
    return content ? *content : "";
  }

  /// The problem of the last kernel of a program.
  static rt::Problem findProblem(const std::string &program) {
    std::unique_ptr<mlir::MLIRContext> context = makeContext();
    auto module = llvm::cantFail(parseProgramText(program, "program.mlir", *context));
    rt::Problem problem;
    CompileOptions compile;
    compile.stopAfter = Stage::Scheduled;
    compile.afterPlan = [&](mlir::ModuleOp plan) {
      for (auto kernel : plan.getOps<ProgramOp>())
        if (kernel->hasAttr(kKernelAttr))
          problem = *getProblem(kernel);
    };
    llvm::cantFail(runStages(module, compile));
    return problem;
  }

  std::string folder;
  std::vector<std::string> warnings;
  JitOptions options;
  JitRequest request;
};

} // namespace

TEST_F(JitTest, AHitIsWhatTheMissMade) {
  JitBundle first = make(), second = make();
  EXPECT_FALSE(first.found);
  EXPECT_TRUE(second.found);
  EXPECT_EQ(first.path, second.path);
  EXPECT_EQ(rt::toJson(first.bundle.manifest), rt::toJson(second.bundle.manifest));
  EXPECT_EQ(first.bundle.ptx, second.bundle.ptx);
  EXPECT_EQ(countFiles(), 1u) << "no lock and nothing temporary is left";
  EXPECT_TRUE(warnings.empty());
}

TEST_F(JitTest, EverythingThatDecidesTheContentIsInTheKey) {
  std::set<std::string> paths = {make().path};
  auto expectNew = [&](const char *what) {
    JitBundle bundle = make();
    EXPECT_FALSE(bundle.found) << what;
    EXPECT_TRUE(paths.insert(bundle.path).second) << what;
  };
  request.parameters["causal"] = "false";
  expectNew("parameter");
  request.target.name = "sm_90";
  expectNew("target");
  request.target.schedule = "tile_n=32";
  expectNew("schedule");
  request.grad = true;
  expectNew("gradient");
  EXPECT_NE(getCompilerId().find("build "), std::string::npos);
  EXPECT_GT(getCompilerId().size(), getCompilerId().find("build ") + 6) << "without a build id";
}

TEST_F(JitTest, TextOfAProgramIsAMethod) {
  request.method = R"(fresnel.program @norms(%q: tensor<1x2x100x64xbf16>) {
    %n = fresnel.norm %q : tensor<1x2x100x64xbf16>
    fresnel.return %n {names = ["norms"]} : tensor<1x2x100xf32>
  })";
  expectRefused(rt::Code::InvalidArgument, "applies to presets");
  request.parameters.clear();
  EXPECT_EQ(make().bundle.manifest.buffers.back().name, "norms");
  EXPECT_TRUE(make().found);
  request.method = "fresnel.program @broken(";
  expectRefused(rt::Code::InvalidArgument, "program.mlir:1:");
}

TEST_F(JitTest, WrongRequestsSayWhatIsWrong) {
  request.parameters["tokp"] = "3";
  expectRefused(rt::Code::InvalidArgument, "preset 'dense' has no parameter 'tokp'");
  request.parameters.erase("tokp");
  request.target.name = "sm_11";
  expectRefused(rt::Code::InvalidArgument, "unknown target 'sm_11'");
  request.target.name = "";
  expectRefused(rt::Code::Unsupported, "a target or a GPU");
  request.target.gpu = rt::DeviceClass{"Old GPU", 75, 40};
  expectRefused(rt::Code::Unsupported, "Old GPU has compute capability 7.5");
  request.method = "dens";
  expectRefused(rt::Code::InvalidArgument, "neither a preset (dense, block_mask, documents, window");
}

TEST_F(JitTest, TheDatabaseDecidesAndIsInTheKey) {
  request.target.gpu = rt::DeviceClass{"Fake GPU", 90, 132};
  JitBundle untuned = make();
  // A trial of this very problem, with another schedule than the default.
  rt::Trial trial;
  trial.run = "test";
  trial.device = *request.target.gpu;
  trial.kernel = "none";
  trial.problem = findProblem(untuned.bundle.manifest.program);
  trial.schedule = R"({"family":"portable","stages":2,"tile_m":64,"tile_n":32})";
  trial.us = {10, 9, 11, 20, 0.5};
  trial.verified = {0.001, 0.001};
  trial.compiler = "test";
  auto journal = rt::Journal::create(folder + "/database", "run");
  ASSERT_TRUE(bool(journal));
  ASSERT_TRUE(journal->append({rt::RecordKind::Trial, trial}).ok());
  JitBundle tuned = make();
  EXPECT_FALSE(tuned.found);
  EXPECT_NE(tuned.path, untuned.path);
  EXPECT_EQ(tuned.tuning.rfind("tuned for Fake GPU: 1 exact", 0), 0u) << tuned.tuning;
  EXPECT_NE(tuned.bundle.manifest.kernels[0].schedule.find(R"("tile_n":32)"), std::string::npos)
      << tuned.bundle.manifest.kernels[0].schedule;
  EXPECT_NE(tuned.bundle.manifest.kernels[0].choice.find("exact"), std::string::npos);
  EXPECT_TRUE(make().found);
  options.tuned.off = true;
  EXPECT_EQ(make().path, untuned.path);
  // The user's database need not be there; one that is named must.
  options.tuned.off = false;
  options.tuned.database = folder + "/none";
  expectRefused(rt::Code::IoError, folder + "/none: no such database");
}

//===----------------------------------------------------------------------===//
// Modes
//===----------------------------------------------------------------------===//

TEST_F(JitTest, NeverCompilesOnlyWhenToldNotTo) {
  options.mode = JitMode::Never;
  expectRefused(rt::Code::JitDisabled, "method 'dense' for sm_80 is not in the kernel cache");
  options.mode = JitMode::OnMiss;
  JitBundle made = make();
  options.mode = JitMode::Never;
  EXPECT_EQ(make().path, made.path);
  std::string content = read(made.path);
  ASSERT_TRUE(rt::writeFileAtomically(made.path, {content.substr(0, 100)}).ok());
  expectRefused(rt::Code::JitDisabled, "is not in the kernel cache");
  EXPECT_EQ(read(made.path).size(), 100u) << "never writes nothing";
}

TEST_F(JitTest, AlwaysCompilesAndReplaces) {
  JitBundle made = make();
  struct stat before, after;
  ASSERT_EQ(stat(made.path.c_str(), &before), 0);
  options.mode = JitMode::Always;
  EXPECT_FALSE(make().found);
  ASSERT_EQ(stat(made.path.c_str(), &after), 0);
  EXPECT_TRUE(before.st_ino != after.st_ino || before.st_mtim.tv_nsec != after.st_mtim.tv_nsec);
}

TEST_F(JitTest, TheEnvironmentSetsTheMode) {
  setenv("FRESNEL_JIT", "never", 1);
  expectRefused(rt::Code::JitDisabled, "FRESNEL_JIT=never");
  options.mode = JitMode::OnMiss;
  make();
  options.mode.reset();
  setenv("FRESNEL_JIT", "sometimes", 1);
  expectRefused(rt::Code::InvalidArgument, "FRESNEL_JIT is 'sometimes', but never, on-miss or always");
  unsetenv("FRESNEL_JIT");
}

//===----------------------------------------------------------------------===//
// Damage and permissions
//===----------------------------------------------------------------------===//

TEST_F(JitTest, DamagedEntriesAreCompiledAgainWithAWarning) {
  JitBundle made = make();
  std::string good = read(made.path);
  std::string flipped = good;
  flipped[good.size() / 2] ^= 1;
  for (const std::string &damaged : {good.substr(0, good.size() - 5), flipped, std::string(), std::string("FKB\x02")}) {
    ASSERT_TRUE(rt::writeFileAtomically(made.path, {damaged}).ok());
    warnings.clear();
    JitBundle again = make();
    EXPECT_FALSE(again.found);
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_NE(warnings[0].find("it is compiled again"), std::string::npos) << warnings[0];
    EXPECT_EQ(read(made.path), good);
  }
}

TEST_F(JitTest, AnotherProgramsBundleIsNoHit) {
  JitBundle made = make();
  std::string good = read(made.path);
  request.parameters["causal"] = "false";
  JitBundle other = make();
  ASSERT_TRUE(rt::writeFileAtomically(other.path, {good}).ok());
  EXPECT_FALSE(make().found);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("holds another program"), std::string::npos);
}

TEST_F(JitTest, FoldersThatOthersMayWriteAreRefused) {
  make();
  for (const std::string &path : {options.cacheFolder, options.cacheFolder + "/kernels"}) {
    ASSERT_EQ(chmod(path.c_str(), 0770), 0);
    expectRefused(rt::Code::IoError, "'" + path + "' is refused: its mode lets its group write to it");
    ASSERT_EQ(chmod(path.c_str(), 0707), 0);
    expectRefused(rt::Code::IoError, "its mode lets everybody write to it");
    ASSERT_EQ(chmod(path.c_str(), 0755), 0);
    EXPECT_TRUE(make().found);
  }
  fs::create_directory_symlink(options.cacheFolder, folder + "/link");
  options.cacheFolder = folder + "/link";
  expectRefused(rt::Code::IoError, "it is a link");
}

TEST_F(JitTest, FoldersOfOthersAreRefused) {
  if (geteuid() != 0)
    GTEST_SKIP() << "needs root to give a folder away";
  make();
  ASSERT_EQ(chown(options.cacheFolder.c_str(), 1234, 1234), 0);
  expectRefused(rt::Code::IoError, "it belongs to user 1234");
}

TEST_F(JitTest, FoldersThatCannotBeMadeNameTheVariable) {
  ASSERT_TRUE(rt::writeFileAtomically(folder + "/file", {""}).ok());
  options.cacheFolder = folder + "/file/cache";
  expectRefused(rt::Code::IoError, "set FRESNEL_CACHE_DIR");
}

TEST_F(JitTest, WithoutAPlaceKernelsAreMadeAndNotKept) {
  options.cacheFolder.clear();
  std::string home = getenv("HOME") ? getenv("HOME") : "";
  unsetenv("HOME");
  unsetenv("XDG_CACHE_HOME");
  unsetenv("FRESNEL_CACHE_DIR");
  EXPECT_TRUE(make().path.empty());
  EXPECT_EQ(warnings.size(), 1u);
  options.mode = JitMode::Never;
  expectRefused(rt::Code::IoError, "HOME is not set");
  setenv("HOME", home.c_str(), 1);
}

//===----------------------------------------------------------------------===//
// Many at once
//===----------------------------------------------------------------------===//

TEST_F(JitTest, OfManyThreadsOneCompiles) {
  constexpr int kThreads = 8;
  std::atomic<int> compiled{0};
  std::vector<std::string> contents(kThreads);
  std::vector<std::thread> threads;
  options.warn = [](const std::string &) {};
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      rt::Expected<JitBundle> bundle = jitBundle(request, options);
      if (!bundle)
        return;
      compiled += !bundle->found;
      contents[size_t(t)] = rt::toJson(bundle->bundle.manifest) + bundle->bundle.ptx[0];
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(compiled, 1);
  for (const std::string &content : contents)
    EXPECT_TRUE(!content.empty() && content == contents[0]);
  EXPECT_EQ(countFiles(), 1u);
}

TEST_F(JitTest, OfManyProcessesOneCompiles) {
  constexpr int kProcesses = 4;
  std::vector<pid_t> children;
  for (int i = 0; i < kProcesses; ++i) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      rt::Expected<JitBundle> bundle = jitBundle(request, options);
      _exit(!bundle ? 2 : bundle->found ? 1 : 0);
    }
    children.push_back(child);
  }
  int codes[3] = {};
  for (pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) < 3);
    ++codes[WEXITSTATUS(status)];
  }
  EXPECT_EQ(codes[0], 1) << "compiled";
  EXPECT_EQ(codes[1], kProcesses - 1) << "found";
  EXPECT_TRUE(make().found);
  EXPECT_EQ(countFiles(), 1u);
}

TEST_F(JitTest, AKilledProcessLeavesNoLock) {
  rt::Expected<rt::KernelCache> cache = rt::KernelCache::open(options.cacheFolder);
  ASSERT_TRUE(bool(cache));
  std::string key(64, 'a');
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    rt::CacheLock lock = cache->lock(key);
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  // Hangs if it does.
  rt::CacheLock lock = cache->lock(key);
}

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

TEST_F(JitTest, LoadsForTheGpuThatThereIs) {
  auto driver = rt::Driver::load();
  ASSERT_TRUE(bool(driver)) << driver.status().message();
  request.target = {};
  rt::Expected<rt::LoadedPlan> plan = jit(*driver, 0, request, options);
  ASSERT_TRUE(bool(plan)) << plan.status().message();
  EXPECT_EQ(plan->manifest().target.name, "sm_90a");
  EXPECT_EQ(plan->manifest().name, "dense");
  EXPECT_EQ(jit(*driver, 7, request, options).status().code(), rt::Code::CudaError);
  EXPECT_EQ(countFiles(), 1u);
}

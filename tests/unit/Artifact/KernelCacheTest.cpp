//===- KernelCacheTest.cpp - Many writers, locks, permissions, cleaning
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/KernelCache.h"
#include "fresnel/Artifact/File.h"
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <thread>

using namespace fresnel::rt;
namespace fs = std::filesystem;

namespace {

class KernelCacheTest : public testing::Test {
protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "fresnel-cache.XXXXXX").string();
    ASSERT_TRUE(mkdtemp(name.data()));
    scratch = name;
  }
  void TearDown() override { fs::remove_all(scratch); }

  KernelCache open() {
    Expected<KernelCache> cache = KernelCache::open(scratch + "/cache");
    EXPECT_TRUE(bool(cache)) << cache.status().message();
    return *cache;
  }
  static std::string makeKey(char digit) { return std::string(64, digit); }

  std::string scratch;
};

} // namespace

TEST_F(KernelCacheTest, EntriesAreFoundAndStay) {
  KernelCache cache = open();
  Expected<std::optional<std::string>> missing = cache.read(makeKey('a'));
  ASSERT_TRUE(bool(missing));
  EXPECT_FALSE(*missing);
  ASSERT_TRUE(cache.publish(makeKey('a'), {"fir", "st"}).ok());
  ASSERT_TRUE(cache.publish(makeKey('a'), {"second"}).ok());
  EXPECT_EQ(**cache.read(makeKey('a')), "first");
  cache.remove(makeKey('a'));
  EXPECT_FALSE(*cache.read(makeKey('a')));
  struct stat info;
  ASSERT_EQ(stat((scratch + "/cache/kernels").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(KernelCacheTest, OneThreadAtATimeHoldsAKey) {
  KernelCache cache = open();
  std::atomic<int> inside{0}, most{0}, made{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        CacheLock lock = cache.lock(makeKey('b'));
        int now = ++inside;
        most = std::max(most.load(), now);
        if (!*cache.read(makeKey('b'))) {
          ++made;
          EXPECT_TRUE(cache.publish(makeKey('b'), {"content"}).ok());
        }
        --inside;
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(most, 1);
  EXPECT_EQ(made, 1);
  EXPECT_EQ(cache.list()->size(), 1u);
  for (const auto &entry : fs::recursive_directory_iterator(scratch))
    EXPECT_NE(entry.path().extension(), ".lock") << entry.path();
}

TEST_F(KernelCacheTest, ListsAndCleans) {
  KernelCache cache = open();
  ASSERT_TRUE(cache.publish(makeKey('a'), {"12345"}).ok());
  ASSERT_TRUE(cache.publish(makeKey('b'), {"123"}).ok());
  // Left by killed processes: an old one, and one that may still be written.
  std::string folder = scratch + "/cache/kernels/bundles/aa/";
  ASSERT_TRUE(writeFileAtomically(folder + "old.tmp.AbCdEf", {"x"}).ok());
  ASSERT_TRUE(writeFileAtomically(folder + "new.tmp.AbCdEf", {"x"}).ok());
  timespec old[2] = {{1000, 0}, {1000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, (folder + "old.tmp.AbCdEf").c_str(), old, 0), 0);
  Expected<std::vector<CacheEntry>> entries = cache.list();
  ASSERT_TRUE(bool(entries));
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].key, makeKey('a'));
  EXPECT_EQ((*entries)[0].path, cache.pathOf(makeKey('a')));
  EXPECT_EQ((*entries)[0].bytes, 5);
  EXPECT_EQ((*entries)[1].key, makeKey('b'));
  EXPECT_EQ(cache.clean(1)->first, 0u);
  EXPECT_FALSE(fs::exists(folder + "old.tmp.AbCdEf"));
  EXPECT_TRUE(fs::exists(folder + "new.tmp.AbCdEf"));
  EXPECT_EQ(*cache.clean(int64_t(std::time(nullptr)) + 10), std::make_pair(size_t(2), int64_t(8)));
  EXPECT_TRUE(cache.list()->empty());
}

TEST_F(KernelCacheTest, AFolderThatOthersMayWriteIsRefused) {
  open();
  ASSERT_EQ(chmod((scratch + "/cache").c_str(), 0777), 0);
  Status status = KernelCache::open(scratch + "/cache").status();
  EXPECT_EQ(status.code(), Code::IoError);
  EXPECT_NE(status.message().find("its mode lets everybody write to it"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("chmod go-w"), std::string::npos);
  fs::create_symlink(scratch + "/cache", scratch + "/link");
  status = KernelCache::open(scratch + "/link").status();
  EXPECT_NE(status.message().find("it is a link"), std::string::npos) << status.message();
  EXPECT_EQ(status.message().find("chmod"), std::string::npos) << "it would not help: " << status.message();
  EXPECT_NE(KernelCache::open("").status().message().find("HOME is not set"), std::string::npos);
}

TEST_F(KernelCacheTest, TheEnvironmentNamesTheFolder) {
  std::string home = getenv("HOME") ? getenv("HOME") : "";
  unsetenv("FRESNEL_CACHE_DIR");
  setenv("XDG_CACHE_HOME", "/xdg", 1);
  EXPECT_EQ(KernelCache::defaultFolder(), "/xdg/fresnel");
  setenv("XDG_CACHE_HOME", "not/absolute", 1);
  setenv("HOME", "/home/user", 1);
  EXPECT_EQ(KernelCache::defaultFolder(), "/home/user/.cache/fresnel");
  setenv("FRESNEL_CACHE_DIR", "/chosen", 1);
  EXPECT_EQ(KernelCache::defaultFolder(), "/chosen");
  unsetenv("FRESNEL_CACHE_DIR");
  unsetenv("XDG_CACHE_HOME");
  unsetenv("HOME");
  EXPECT_EQ(KernelCache::defaultFolder(), "");
  setenv("HOME", home.c_str(), 1);
}

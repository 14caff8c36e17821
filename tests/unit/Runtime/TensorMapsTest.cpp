//===- TensorMapsTest.cpp - Which tensor maps a launch encodes, and what threads see of them
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Runtime/TensorMaps.h"
#include "RuntimeSupport.h"
#include <atomic>
#include <cstring>
#include <thread>

using namespace fresnel::rt;

/// `makeBundle` whose kernel takes maps of an input and of a temporary, in two launches.
static Bundle makeMapBundle() {
  Bundle bundle = makeBundle();
  Manifest &manifest = bundle.manifest;
  manifest.buffers[1] = {"t", BufferKind::Temporary, DType::BF16, {1, 1, 8, 32}, 256};
  Param map{ParamKind::TensorMap, 0};
  map.rows = map.cols = 32;
  map.swizzle = 64;
  manifest.kernels[0].params = {map, map, {ParamKind::Pointer, 2}, {ParamKind::Pointer, 2}};
  manifest.kernels[0].params[1].operand = 1;
  manifest.launches.resize(2, manifest.launches[0]);
  return bundle;
}

TEST_F(RuntimeTest, TensorMapsAreEncodedWhenSomethingIsNew) {
  auto plan = load(makeMapBundle());
  ASSERT_TRUE(bool(plan)) << plan.status().message();
  auto encodes = [&] {
    int before = ask<int>("FakeDriver_encodedMaps");
    Status status = plan->launch(args.data(), args.size(), workspace, 1024, nullptr);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 0), reinterpret_cast<uint64_t>(args[0].data));
    EXPECT_EQ(ask<uint64_t>("FakeDriver_param", 1), reinterpret_cast<uint64_t>(workspace) + 256);
    return ask<int>("FakeDriver_encodedMaps") - before;
  };
  EXPECT_EQ(encodes(), 4) << "two of each launch";
  EXPECT_EQ(encodes(), 0);
  args[0].data = reinterpret_cast<void *>(0x7000);
  EXPECT_EQ(encodes(), 2) << "the input's";
  EXPECT_EQ(encodes(), 0);
  strides[1] = 2048;
  strides[2] = 32;
  EXPECT_EQ(encodes(), 2) << "the strides are others";
  workspace = reinterpret_cast<void *>(0x9000);
  EXPECT_EQ(encodes(), 2) << "the temporary's";
  args[1].data = reinterpret_cast<void *>(0x6000);
  EXPECT_EQ(encodes(), 0) << "it is passed as a pointer";
  // The batch has size 1: its stride means nothing.
  strides[0] = 12345;
  EXPECT_EQ(encodes(), 0);
  PlanHandle copy = plan->forward();
  int before = ask<int>("FakeDriver_encodedMaps");
  ASSERT_TRUE(copy.launch(args.data(), args.size(), {workspace, 1024}, nullptr).ok());
  EXPECT_EQ(ask<int>("FakeDriver_encodedMaps"), before);
}

TEST_F(RuntimeTest, MapsThatTheDriverRefusesAreNotKept) {
  auto plan = load(makeMapBundle());
  ASSERT_TRUE(bool(plan)) << plan.status().message();
  setenv("FRESNEL_FAKE", "map", 1);
  for (int i = 0; i < 2; ++i)
    expectRefused(plan->launch(args.data(), args.size(), workspace, 1024, nullptr), Code::CudaError,
                  "encoding the tensor map of 'x'");
  unsetenv("FRESNEL_FAKE");
  EXPECT_TRUE(plan->launch(args.data(), args.size(), workspace, 1024, nullptr).ok());
}

/// A map all of whose words follow from its place.
static TensorMap makeMap(const TensorMapPlace &place) {
  TensorMap map;
  for (size_t i = 0; i < 16; ++i)
    map.words[i] = place[0] * 31 + place[i % 4] + i;
  return map;
}

TEST(TensorMapCacheTest, KeepsSeveralPlacesOfAParameter) {
  TensorMapCache cache(2);
  TensorMap map;
  EXPECT_FALSE(cache.find(0, {0, 0, 0, 0}, map)) << "an empty entry is no map";
  size_t found = 0;
  for (uint64_t i = 1; i <= 8; ++i)
    cache.keep(1, {i << 20, 256, 512, 1024}, makeMap({i << 20, 256, 512, 1024}));
  for (uint64_t i = 1; i <= 8; ++i) {
    EXPECT_FALSE(cache.find(0, {i << 20, 256, 512, 1024}, map)) << "another parameter's";
    EXPECT_FALSE(cache.find(1, {i << 20, 256, 512, 2048}, map)) << "another stride";
    found += cache.find(1, {i << 20, 256, 512, 1024}, map);
  }
  EXPECT_GE(found, 4u) << "some may have pushed out others";
}

// Every thread writes and reads the same few entries: what is found is whole and the one that was asked for.
TEST(TensorMapCacheTest, ThreadsNeverSeeHalfAMap) {
  TensorMapCache cache(1);
  std::atomic<int> wrong{0}, found{0};
  auto work = [&](uint64_t seed) {
    for (uint64_t i = 0; i < 20000; ++i) {
      TensorMapPlace place{(seed * 7919 + i * 104729) % 24 << 9, i % 2, 512, 1024};
      TensorMap map, expected = makeMap(place);
      if (cache.find(0, place, map)) {
        ++found;
        wrong += std::memcmp(&map, &expected, sizeof map) != 0;
      } else {
        cache.keep(0, place, expected);
      }
    }
  };
  std::vector<std::thread> threads;
  for (uint64_t seed = 1; seed <= 4; ++seed)
    threads.emplace_back(work, seed);
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(found, 0);
}

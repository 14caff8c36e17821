//===- Parallel.cpp - Loops over threads ------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Parallel.h"
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

using namespace fresnel;

void ref::parallelFor(int64_t count, const std::function<void(int64_t)> &body) {
  int64_t threads = std::min<int64_t>(std::max(1u, std::thread::hardware_concurrency()), count);
  std::atomic<int64_t> next{0};
  auto work = [&] {
    for (int64_t i = next++; i < count; i = next++)
      body(i);
  };
  std::vector<std::thread> others;
  for (int64_t t = 1; t < threads; ++t)
    others.emplace_back(work);
  work();
  for (std::thread &thread : others)
    thread.join();
}

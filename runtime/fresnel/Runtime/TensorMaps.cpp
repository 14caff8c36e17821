//===- TensorMaps.cpp - TMA descriptors of a plan's launches
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Runtime/TensorMaps.h"

namespace fresnel::rt {

// Values of cuda.h.
static constexpr int kTensorMapF16 = 6, kTensorMapBf16 = 9, kTensorMapF32 = 7;

int encodeTensorMap(const Driver &driver, const Buffer &buffer, const TensorMapPlace &place, const Param &param,
                    TensorMap &map) {
  int type = buffer.dtype == DType::BF16 ? kTensorMapBf16 : buffer.dtype == DType::F16 ? kTensorMapF16 : kTensorMapF32;
  auto size = [&](size_t dim) { return uint64_t(buffer.sizeInSlice(dim)); };
  uint64_t dims[] = {size(3), size(2), size(1), size(0)};
  uint32_t box[] = {uint32_t(param.cols), uint32_t(param.rows), uint32_t(param.heads), 1}, ones[] = {1, 1, 1, 1};
  int swizzle = param.swizzle == 128 ? 3 : param.swizzle == 64 ? 2 : param.swizzle == 32 ? 1 : 0;
  return driver.cuTensorMapEncodeTiled(&map, type, 4, reinterpret_cast<void *>(place[0]), dims, &place[1], box, ones, 0,
                                       swizzle, /*l2 256B=*/3, 0);
}

TensorMapCache::TensorMapCache(size_t params) : entries(new Entry[params * kWays]) {}

TensorMapCache::Entry &TensorMapCache::entryFor(size_t param, const TensorMapPlace &place) const {
  // Addresses are multiples of something, as far apart as a layer's tensors are: every bit must count.
  uint64_t mixed = place[0] >> 4;
  for (uint64_t factor : {0xFF51AFD7ED558CCDu, 0xC4CEB9FE1A85EC53u})
    mixed = (mixed ^ mixed >> 33) * factor;
  return entries[param * kWays + (mixed >> 40) % kWays];
}

bool TensorMapCache::find(size_t param, const TensorMapPlace &place, TensorMap &map) const {
  const Entry &entry = entryFor(param, place);
  uint64_t before = entry.version.load(std::memory_order_acquire);
  // 0: never written.
  if (before == 0 || before % 2)
    return false;
  bool same = true;
  for (size_t i = 0; i < 4; ++i)
    same &= entry.words[i].load(std::memory_order_relaxed) == place[i];
  if (!same)
    return false;
  for (size_t i = 0; i < 16; ++i)
    map.words[i] = entry.words[4 + i].load(std::memory_order_relaxed);
  // If any word was a later writer's, so is the version.
  std::atomic_thread_fence(std::memory_order_acquire);
  return entry.version.load(std::memory_order_relaxed) == before;
}

void TensorMapCache::keep(size_t param, const TensorMapPlace &place, const TensorMap &map) {
  Entry &entry = entryFor(param, place);
  uint64_t before = entry.version.load(std::memory_order_relaxed);
  if (before % 2 || !entry.version.compare_exchange_strong(before, before + 1, std::memory_order_acquire))
    return;
  std::atomic_thread_fence(std::memory_order_release);
  for (size_t i = 0; i < 4; ++i)
    entry.words[i].store(place[i], std::memory_order_relaxed);
  for (size_t i = 0; i < 16; ++i)
    entry.words[4 + i].store(map.words[i], std::memory_order_relaxed);
  entry.version.store(before + 2, std::memory_order_release);
}

} // namespace fresnel::rt

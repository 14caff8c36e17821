//===- TensorMaps.h - TMA descriptors of a plan's launches
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_RUNTIME_TENSORMAPS_H
#define FRESNEL_RUNTIME_TENSORMAPS_H

#include "fresnel/Artifact/Manifest.h"
#include "fresnel/Runtime/Driver.h"
#include <array>
#include <atomic>
#include <memory>

namespace fresnel::rt {

/// cuda.h's CUtensorMap.
struct alignas(64) TensorMap {
  uint64_t words[16];
};

/// What of a tensor map a launch decides: the address, and in bytes the strides of
/// rows, heads and batches.
using TensorMapPlace = std::array<uint64_t, 4>;

/// A map of boxes of `heads` x `rows` x `cols` of a [batch, head, sequence, head_dim]
/// tensor at `place`. Gives the driver's error, 0 for none.
int encodeTensorMap(const Driver &driver, const Buffer &buffer, const TensorMapPlace &place, const Param &param,
                    TensorMap &map);

/// Remembers the maps of a plan's parameters, a few for each, so that launches with
/// tensors seen before need not ask the driver. Any thread may call anything at any
/// time, and none ever waits: what another one is just writing is not found, and what
/// cannot be written right now is not kept.
class TensorMapCache {
public:
  /// For so many parameters.
  explicit TensorMapCache(size_t params);

  /// False where `map` is not set: the map is not known.
  bool find(size_t param, const TensorMapPlace &place, TensorMap &map) const;
  void keep(size_t param, const TensorMapPlace &place, const TensorMap &map);

private:
  /// Odd while it is written, and another number after. The words of the place and of the map follow.
  struct alignas(64) Entry {
    std::atomic<uint64_t> version{0};
    std::array<std::atomic<uint64_t>, 4 + 16> words{};
  };
  /// Places where a parameter's map may be kept, one for each address: layers of a model may share a plan and take
  /// turns.
  static constexpr size_t kWays = 16;
  Entry &entryFor(size_t param, const TensorMapPlace &place) const;

  std::unique_ptr<Entry[]> entries;
};

} // namespace fresnel::rt

#endif // FRESNEL_RUNTIME_TENSORMAPS_H

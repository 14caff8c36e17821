//===- HopperRings.h - Rings of tiles between the roles of a kernel -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_HOPPERRINGS_H
#define FRESNEL_CONVERSION_HOPPERRINGS_H

#include "fresnel/Conversion/KernelBuilder.h"
#include "fresnel/Schedule/Hopper.h"

namespace fresnel {

/// A head and the number of one of its tiles.
struct HeadTile {
  Val head, tile;
};
/// The `index`-th tile where `heads` heads have `tiles` tiles each and sections of heads follow
/// each other: in a section the first tiles of all heads come first.
HeadTile walkSections(Val index, int64_t heads, int64_t section, int64_t tiles);

/// What warp-specialised kernels write to hand tiles from a producer to consumers.
class HopperRings {
protected:
  /// A ring of tiles, and the mbarriers that hand its slots back and forth.
  struct Ring {
    int64_t stages = 0;
    Val tiles, full, empty;
  };

  /// What thread blocks that add up the same tiles leave to each other.
  struct SharedSums {
    /// Their sums so far, and a semaphore that says whose turn it is.
    Val sums, turns;
    /// The place of the semaphore, and those of the fragments.
    llvm::SmallVector<mlir::Value> turn;
    llvm::function_ref<llvm::SmallVector<mlir::Value>(int64_t)> place;
    /// The number of this thread block among them, and how many they are.
    Val number, count;
  };

  explicit HopperRings(KernelBuilder &builder) : b(builder) {}

  /// The bodies of the producer and of the consumers of a kernel.
  void writeRoles(int64_t consumers, HopperRegisters registers, llvm::function_ref<void()> produce,
                  llvm::function_ref<void()> consume);
  Val allocBarriers(int64_t count);
  Ring allocRing(int64_t stages, int64_t rows, int64_t columns, mlir::Type element,
                 tile::Layout layout = tile::Layout::Swizzled);
  void initBarriers(Val barriers, int64_t arrivals, bool fence = false);

  /// The slot of the i-th tile and the parity of its turn.
  std::pair<Val, Val> slotOf(const Ring &ring, Val i);
  void wait(Val barriers, Val slot, Val parity);
  void expect(Val barriers, Val slot, int64_t bytes);
  void arrive(Val barriers, Val slot, Val predicate);
  /// `threads` meet at the named barrier `id`; those that are `arriving` do not wait there.
  void meet(Val id, int64_t threads, bool arriving = false);
  /// The sums of the thread blocks up to this one, in their order, which are left to the next one. All threads of a
  /// consumer call it, one of which is the `leader`; `meetOwn` lets them meet.
  llvm::SmallVector<Val> addInTurn(const SharedSums &shared, llvm::SmallVector<Val> sums, Val leader,
                                   llvm::function_ref<void()> meetOwn);
  /// A product once all but the latest `pending` of this warpgroup have ended.
  Val waitFor(Val product, int64_t pending);

  KernelBuilder &b;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_HOPPERRINGS_H

//===- HopperListSums.h - Steps that sum dK and dV over block lists -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How the hopper kernel sums the gradients of keys and values over block lists: a producer hands out steps of 64 rows
// of queries and gradients of the output, with LSE and delta of each row beside them, an infinite LSE where the row
// does not list the block; each consumer owns 64 keys and values. Scores are computed transposed, keys by queries, and
// are with their gradients left operands of the products that sum dV and dK, in registers.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_HOPPERLISTSUMS_H
#define FRESNEL_CONVERSION_HOPPERLISTSUMS_H

#include "fresnel/Conversion/AttendGradMath.h"
#include "fresnel/Conversion/HopperRings.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Schedule/HopperLists.h"

namespace fresnel {

class HopperListSums : protected HopperRings {
protected:
  static constexpr int64_t kGroupRows = 64, kConsumers = 2;
  static constexpr int64_t kRows = ListSteps::kRows, kLanes = 32, kThreads = 128 * (kConsumers + 1);
  /// The named barrier of the first consumer's own threads; the others' follow.
  static constexpr int64_t kOwnBarrier = 1;
  /// The producer walks lists, for which 24 would not do: 168 * 3 = 40 + 2 * 232.
  static constexpr HopperRegisters kRegisters{40, 232};

  /// The kernel's arguments. Bounds are there if there are documents, or where blocks start; counts of rows, sums and
  /// turns where sums lie in memory for a while.
  enum Argument : unsigned { kQ, kK, kV, kLse, kDelta, kDout, kBits, kDocuments, kCounts, kDk, kDv, kSums, kTurns };

  HopperListSums(AttendGradKvOp op, const KernelRequest &request, KernelBuilder &builder)
      : HopperRings(builder), request(request), shape(op), steps(getListSteps(op)),
        stages(request.schedule.getStages()), math(builder, shape, Owner::Keys, kGroupRows, kRows) {}
  virtual ~HopperListSums() = default;

  virtual Val argument(Argument which) = 0;
  /// The slot of the i-th step of a consumer and the parity of its turn.
  virtual std::pair<Val, Val> getSlot(Val i) = 0;
  /// A consumer's row of `lses` in a slot.
  virtual Val getOwnLseRow(Val slot) = 0;

  /// Arguments with tensor maps in the place of views.
  llvm::SmallVector<mlir::Type> getMappedTypes();
  /// `keyRows` keys and values, and slots with `lsesPerSlot` LSE for each row.
  void allocateTiles(int64_t keyRows, int64_t slots, int64_t lsesPerSlot);
  void prefetchMaps();

  //===--------------------------------------------------------------------===//
  // Producer
  //===--------------------------------------------------------------------===//

  void load(Argument map, Val head, Val row, Val target, Val barriers, Val slot, Val tileRow = {});
  /// Of a row of a step: its place, LSE for each block of a walk, and delta.
  struct RowValues {
    Val row;
    llvm::SmallVector<Val> lses;
    Val delta;
  };
  /// Of the row of a step that has this place in the order of the boxes, head and token. `isListed` says whether it
  /// lists a block of the walk, of which there are `blocks`, or null if it does.
  RowValues loadValues(Val row, Val head, Val token, int64_t blocks, llvm::function_ref<Val(int64_t)> isListed);
  /// Fills a slot once it is free; all lanes of a warp together. `loadRows` starts its copies, `getLseRow` has the rows
  /// of `lses`.
  void fillSlot(std::pair<Val, Val> place, llvm::ArrayRef<RowValues> values, llvm::function_ref<void(Val)> loadRows,
                llvm::function_ref<Val(int64_t)> getLseRow);
  /// The queries and gradients of the output of a slot, from a row of its tiles on or all.
  void loadTiles(Val head, Val token, Val slot, Val tileRow = {});

  //===--------------------------------------------------------------------===//
  // Consumers
  //===--------------------------------------------------------------------===//

  /// The threads of a consumer meet.
  void meetOwn(Val consumer) { meet(consumer + double(kOwnBarrier), 128); }
  /// Gives a slot back: each thread, which has read what lies beside the tiles by itself.
  void release(Val barriers, Val slot);

  Val toLhs(Val weights);
  /// One step: the sums of dK, dV or both come in and go out.
  llvm::SmallVector<Val> iterate(bool keys, bool values, bool masked, Val i, llvm::ArrayRef<Val> sums);
  /// The steps from `first` to the one before `end`, at least one. Each step's sums run beside the exponentials of the
  /// next one: without a mask, and there are no registers for both products of a step beside the left operands of the
  /// one before. The last slot is not given back.
  llvm::SmallVector<Val> walkOverlapped(Val first, Val end, llvm::ArrayRef<Val> init);
  /// Stores both gradients; the tiles may be filled again when `leader` has come back.
  void storeGradients(Val consumer, llvm::ArrayRef<Val> sums);
  void storeTile(Val tile, Argument map);
  Val getZero();
  /// Sums of the gradients of keys in front of the start of their block, which nothing sees, become 0.
  Val clearHidden(Val sum);

  const KernelRequest &request;
  AttendShape shape;
  ListSteps steps;
  int64_t stages;
  AttendGradMath math;
  tile::KernelOp kernel;
  Val thread, batch, kvHead;
  /// The first token of each step, or of each list row that it gathers.
  Val owned, keyTile, valueTile, douts, lses, deltas, tokens;
  Ring queries;
  // In the producer.
  Val lane, elected;
  // In a consumer: its first row of a tile and in the sequence, and whether this thread speaks for it.
  Val groupRow, firstKey, leader;
  DocumentRows documents;

private:
  Val multiplyOwned(Val owned, Val tile);
  Val accumulate(Val sum, Val lhs, Val tile);
  Val loadColumns(Val row);
  Val getVisible(Val slot);
  AttendGradMath::Weights weigh(Val slot, Val scores, bool masked);
  Val beginScores(Val i);
  Val beginWeights(Val i);
  llvm::SmallVector<Val> finish(Val i, const AttendGradMath::Weights &weights, Val dweights);
  llvm::SmallVector<Val> beginSums(Val i, llvm::ArrayRef<Val> sums, llvm::ArrayRef<Val> left);
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_HOPPERLISTSUMS_H

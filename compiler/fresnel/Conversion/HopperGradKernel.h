//===- HopperGradKernel.h - Attention's gradients in one pass ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the hopper kernels have in common that compute all gradients of attention in one
// pass (Shah et al., FlashAttention-3, arXiv 2407.08608, section 3). A thread block owns
// keys, holds their K and V in shared memory and walks the queries that see them, for each
// query head that shares the key head. Scores are computed transposed, keys by queries.
//
// Warps of the producer add dQ to device memory, in squares and in turns. The blocks of
// one head do so in the order of their keys, each after the one before it has told that
// it is done, so that the sums have the same bits in every run; the first one stores, and
// the last one leaves the counters at zero. They walk the queries from the last to the
// first: blocks that start together then lag behind each other by the time that an addition
// takes, and what they have in common, the queries, is read by all of them at about the same
// time. Query heads that share a key head take turns at each tile, for the same reason. Where
// each consumer has one square, they have turns of their own and a warp each that adds them.
//
// Integers have the same sums in any order: each square is multiplied by a factor for each row,
// which keeps all sums within 32 bits, and rounded. Then nobody waits for a turn. Nor does anybody
// where any order will do.
//
// With block lists only the queries are walked whose rows list the owned keys
// (HopperGradLists.h).
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_HOPPERGRADKERNEL_H
#define FRESNEL_CONVERSION_HOPPERGRADKERNEL_H

#include "fresnel/Conversion/AttendGradMath.h"
#include "fresnel/Conversion/HopperGradLists.h"
#include "fresnel/Conversion/HopperRings.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Schedule/HopperGrad.h"
#include <optional>

namespace fresnel {

/// Writes the kernel but for the body of its consumers.
class HopperGradKernel : protected HopperRings {
public:
  virtual ~HopperGradKernel() = default;
  void write();

protected:
  static constexpr int64_t kConsumers = 2, kGroupRows = 64;
  /// Rows and columns of what a consumer adds to dQ at once.
  static constexpr int64_t kSquare = 64;

  /// A part of dQ of a step: 64 rows of the `tile`-th tile, `columns` columns from `column` on.
  /// If a step has two tiles of a ring, all columns of one.
  struct Square {
    int64_t tile, column, columns;
  };
  using Squares = llvm::SmallVector<Square>;

  /// A ring of tiles of queries, or of the output's gradient, with one value per row beside them.
  struct RowRing : Ring {
    Val values;
  };

  /// Where a step is: the query head, its first row, and the number of its semaphore; with
  /// block lists also their row.
  struct Step {
    Val head, row, semaphore;
    HopperGradLists::Place listed;
  };

  /// `squares` of each consumer, in the order in which it hands them out.
  HopperGradKernel(AttendGradOp op, const KernelRequest &request, KernelBuilder &builder, Squares first,
                   Squares second);

  /// Shared memory of the consumers.
  virtual void allocateScores() = 0;
  /// The body of a consumer, up to the gradients of keys and values in the place of K and V.
  virtual void consume() = 0;

  Step getStep(Val i);
  /// Gives a slot back to every block that fills it.
  void release(const RowRing &ring, Val slot);
  /// Both consumers meet.
  void meetConsumers();
  Val toLhs(Val value);
  /// `columns` values of the queries of a slot, one for each, from the `first`-th on.
  Val loadValues(const RowRing &ring, Val slot, Val first, int64_t columns);
  /// The pairs of 64 keys from `key` on and `columns` queries from `row` on that the mask
  /// opens, or null for all.
  Val getVisible(Val key, Val row, int64_t columns);
  /// Hands a square of step i to the warp that adds it.
  void handOut(Val square, Val i);
  /// Before the first step, and after the last: also that nobody reads K and V any more.
  void beginConsumer();
  void endConsumer();
  /// Adds what the thread blocks of the shares in front of this one have left of a consumer's `sums`; the last one goes
  /// on with `store`, others leave theirs to the next.
  void joinShares(llvm::SmallVector<Val> sums, llvm::function_ref<void(llvm::ArrayRef<Val>)> store);
  /// Starts to store tiles in the places of V and K; one thread.
  void storeGradients(Val dvTile, Val dkTile, Val tileRow, Val key);

  const KernelRequest &request;
  /// Whether dQ is summed in integers.
  bool integers;
  AttendShape shape;
  /// Keys of the thread block, queries of a step, and of a tile of the rings: a step has one or two.
  int64_t keyRows, queryRows, ringRows;
  Val thread, batch, kvHead, firstKey;
  /// Steps in all.
  Val total;
  Val keyTile, valueTile;
  RowRing queries, douts;
  // In a consumer: its number, and whether this thread speaks for it.
  Val consumer, leader;

private:
  /// The kernel's arguments; the mask's, bounds of documents or lists and their transpose, are
  /// behind the output's gradient.
  enum Argument : unsigned { kQ, kK, kV, kStats, kDout, kDq, kDk, kDv, kSums, kTurns, kMask, kTransposed };

  /// Tensors of the mask.
  unsigned countMasks() const { return shape.hasBlocks() ? 2 : shape.documents ? 1 : 0; }
  /// What shares leave to each other: dK and dV of each consumer of a block.
  tile::GlobalType getSumsType();
  /// Turns at the tiles of dQ, and behind them those of shares.
  int64_t countTurns() const { return countTileTurns() + (shares > 1 ? countShareTurns() : 0); }
  int64_t countTileTurns() const {
    return ordered ? shape.batches * shape.heads * steps * (apart ? kConsumers : 1) : 0;
  }
  int64_t countShareTurns() const { return shape.batches * shape.kvHeads * blocks * kConsumers; }
  llvm::SmallVector<mlir::Type> getArgumentTypes();
  Val argument(Argument which);
  RowRing allocRing(int64_t stages, int64_t columns);
  void allocate();
  void initialise();
  void locate();

  void load(Argument map, Val head, Val row, Val target, Val barriers, Val slot);
  void fill(const RowRing &ring, Argument map, int64_t statsRow, Val i, const Step &step);
  void loadAll();
  Val getLastBlock(const Step &step);
  HopperGradLists::Turn getTurn(const Step &step);
  void addSquare(const Step &step, Val now, int64_t c, const Square &square, Val elected);
  void addRound(const Step &step, Val now, size_t round, Val ready, Val elected);
  void addOwn(int64_t c);
  void addFrom(Val first);
  void produce();
  /// A square of step i as integers.
  Val toIntegers(Val square, Val i);

  /// Steps over the queries of a head, thread blocks that load queries for each other, blocks of keys, thread blocks
  /// that share the query heads of one, query heads of each of these, key heads of a section.
  int64_t steps, cluster, blocks, shares, group, section;
  int64_t doutStages;
  /// Whether dQ is summed in one order, and each consumer's square in turns of its own.
  bool ordered, apart;
  Squares squareLists[kConsumers];
  std::optional<BlockSetSizes> listSizes;
  std::optional<HopperGradLists> lists;
  tile::KernelOp kernel;
  Val block, ownShare;
  /// Behind the last step of a query head.
  Val endStep;
  Val squares, parts, keysFull;
  /// What makes integers of a row of dQ, beside the queries.
  Val factors;
  // In a consumer: what is added before dQ is rounded.
  Val dither;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_HOPPERGRADKERNEL_H

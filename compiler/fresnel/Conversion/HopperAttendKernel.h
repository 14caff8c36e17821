//===- HopperAttendKernel.h - Attention with TMA and WGMMA ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The hopper family: a producer warpgroup feeds K and V through rings of
// mbarriers with bulk tensor copies; consumer warpgroups own 64 query rows each.
// In a consumer the product with V of one block runs behind the softmax of the
// next, and the consumers take turns at issuing their products, so that the
// softmax of one hides behind the products of the other (Shah et al.,
// FlashAttention-3, arXiv 2407.08608).
//
// The weights are the left operand of the product with the values: in registers, or where these are few in shared
// memory. There they are replaced once that product has ended, by the warpgroup that owns the rows, which then meets.
//
// Key blocks are visited from the last to the first: those that cross the
// diagonal, the sequence's end or that of a document come first, then the plain
// ones, then those at the left edge of the window or the document, and the sinks.
// Each kind has its own copy of the loop, because a branch around a mask would make
// ptxas serialise the matrix unit.
//
// A persistent kernel has one block per multiprocessor, whose producer takes tile
// after tile from a counter in device memory and hands its number on with the
// queries. While the consumers finish a tile, the operands of the next arrive. Where
// the queries of two tiles fit, the first scores of the next are computed behind the
// last product of the one that ends, so that the matrix unit never waits between tiles.
//
// Over packed documents the work of a tile is in the data. Each block of a persistent kernel reads the bounds of a
// head's tiles when it begins and puts them in the order of their work, so that here, too, the last ones are short.
//
// The blocks of a cluster have neighbouring tiles of one head. Each loads its share of a
// block of keys into the memory of all, once the consumers of all have given the slot back.
// Under a causal mask a tile gives back unread what only later queries see.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_HOPPERATTENDKERNEL_H
#define FRESNEL_CONVERSION_HOPPERATTENDKERNEL_H

#include "fresnel/Conversion/AttendMath.h"
#include "fresnel/Conversion/HopperRings.h"
#include "fresnel/Conversion/HopperTile.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Schedule/Hopper.h"

namespace fresnel {

/// Writes the kernel but for the body of its consumers.
class HopperAttendKernel : protected HopperRings {
public:
  HopperAttendKernel(AttendOp op, const KernelRequest &request, KernelBuilder &builder);
  virtual ~HopperAttendKernel() = default;
  void write();

protected:
  virtual void consume() = 0;

  /// The slot of the i-th block and the parity of its turn.
  std::pair<Val, Val> slotOf(Val i) { return HopperRings::slotOf(keyRing, i); }

  const KernelRequest &request;
  AttendShape shape;
  int64_t tileM, tileN, stages, consumers, cluster;
  bool persistent, chained, held;
  /// Whether the output goes to the place of the weights, or at least not to that of the queries.
  bool reusesWeights, ownOutput;
  /// Rows of a tile of queries in shared memory.
  int64_t queryRows;
  bool lazy;
  /// How many keys of a block are weighed before the wait for the product with the values of the block before.
  int64_t early;
  bool sharedWeights;
  /// The output's position among the arguments; the LSE follows it.
  unsigned outArgument;
  AttendOp op;
  AttendMath math;
  HopperTile at;
  int64_t tiles;
  /// Whether a tile has rows of several heads.
  bool grouped;
  tile::KernelOp kernel;
  Val thread;
  /// The queries and the output of the tile that a consumer is at; if they are held in registers, its own queries.
  Val qTile, oTile;
  Val tileNumber, numberRead;
  /// Where tiles start in the order of their work: that order, and memory in which it is made.
  Val order, orderKeys;
  /// With `early`, for each consumer: where its threads store what they have summed by then.
  Val scratch;
  /// With `sharedWeights`: the weights of a block, of which each consumer has its own rows.
  Val weightTile;
  /// Two tiles of queries if tiles are chained, else one. If consumers hold their queries in registers, a tile is one
  /// of 64 rows for each.
  Ring queryRing;
  Ring keyRing, valueRing;

private:
  /// Maps of boxes of 64 columns; the output is stored by one warpgroup at a time.
  llvm::SmallVector<mlir::Type> getArgumentTypes();
  void allocate();
  void initialise();
  /// Rows of several heads in turn: no box of the tensor, so that the threads copy them.
  void copyQueries();

  /// The keys of a step, or this thread block's share of them, for its whole cluster; the rest comes from the others.
  void loadKeys(unsigned argument, Val i, Val target, Val barriers, Val slot);
  /// Block i of the tile, whose first block was the `base`-th of this kernel.
  void fill(unsigned argument, const Ring &ring, Val base, Val i);
  /// Writes the tile's number, once every consumer thread has read the one before, and returns its queries' slot.
  Val announce(Val index, Val turn);
  void loadQueries(Val index, Val turn);
  /// In a persistent kernel, the number of the tile that comes next. A tile that is reserved earlier than it must be
  /// could be started sooner by another block.
  Val askForNext();
  /// Hands on the queries of one tile, and its keys and values in the order in
  /// which the consumers release the slots. Returns the next tile, which was asked for in front of the last load: that
  /// one waits for a slot, and the answer arrives meanwhile.
  Val produceTile(Val index, Val base, Val turn);
  void produce();
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_HOPPERATTENDKERNEL_H

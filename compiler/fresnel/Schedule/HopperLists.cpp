//===- HopperLists.cpp - Gradients over block lists, hopper family --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/HopperLists.h"
#include "fresnel/Schedule/Schedule.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include <limits>

using namespace mlir;
using namespace fresnel;

/// Shared memory of a block on every GPU of the generation, and what two blocks have together.
static constexpr int64_t kSharedBytes = 227 * 1024, kTwoBlockBytes = 226 * 1024;
/// Keys of a step of the gradient of the queries, of which a block of keys is a multiple or half.
static constexpr int64_t kKeys = 64;
/// The widest head whose gradients of keys and values one consumer sums.
static constexpr int64_t kNarrowDim = 128;
/// Steps of a piece of a walk: one takes about a microsecond, and the whole kernel some milliseconds
/// where there are blocks that are listed this often.
static constexpr int64_t kPieceSteps = 1024;
/// Blocks of a key head whose walks may be cut: the sums of each are 64 KiB for 64 keys of 128.
static constexpr int64_t kMaxCutBlocks = 16;
/// Heads of a step: a step of fewer than 4 tokens would be a box of many small pieces.
static constexpr int64_t kMaxGroup = 16;
/// Rows of a step that are gathered one by one: each takes copies of its own.
static constexpr int64_t kMaxGathered = 4;

static RankedTensorType getTensor(Value value) { return cast<RankedTensorType>(value.getType()); }

static int64_t getInteger(Operation *op, StringRef name) {
  auto value = op->getAttrOfType<IntegerAttr>(name);
  return value ? value.getInt() : 1;
}

static int64_t getHeadDim(Operation *op) { return getTensor(op->getOperand(0)).getDimSize(3); }

ListSteps fresnel::getListSteps(Operation *op) {
  int64_t queryBlock = getInteger(op, "query_block");
  int64_t readers = getTensor(op->getOperand(0)).getDimSize(1) / getTensor(getBlockList(op)).getDimSize(1);
  ListSteps steps{/*group=*/1, ListSteps::kRows, 0, 1};
  // Heads that share lists stand side by side: every further list row widens the union that is walked.
  while (steps.tokens > queryBlock && readers % (2 * steps.group) == 0 && steps.group < kMaxGroup) {
    steps.group *= 2;
    steps.tokens /= 2;
  }
  if (queryBlock % steps.tokens == 0) {
    steps.rows = 1;
    steps.parts = queryBlock / steps.tokens;
  } else if (steps.tokens % queryBlock == 0) {
    steps.rows = steps.tokens / queryBlock;
    // A walk over two blocks visits rows that list either. A soft cap leaves no registers for the tokens of each row.
    steps.gathered =
        steps.rows <= kMaxGathered && llvm::isPowerOf2_64(steps.rows) && getWalkBlocks(op) == 1 && !hasSoftcap(op);
  }
  return steps;
}

int64_t fresnel::getListKeys(Operation *op) { return getHeadDim(op) > kNarrowDim ? 64 : 128; }

int64_t fresnel::getWalkKeys(Operation *op) { return getInteger(op, "key_block") % 128 ? 64 : getListKeys(op); }

int64_t fresnel::getWalkBlocks(Operation *op) {
  return std::max<int64_t>(1, getWalkKeys(op) / getInteger(op, "key_block"));
}

ListCuts fresnel::getListCuts(Operation *op) {
  RankedTensorType q = getTensor(op->getOperand(0)), k = getTensor(op->getOperand(1));
  RankedTensorType blocks = getTensor(getBlockList(op));
  ListSteps steps = getListSteps(op);
  int64_t lists = blocks.getDimSize(1) / k.getDimSize(1), readers = q.getDimSize(1) / blocks.getDimSize(1);
  int64_t rows = lists * int64_t(llvm::divideCeil(q.getDimSize(2), getInteger(op, "query_block")));
  int64_t repeats = readers / steps.group * steps.parts;
  ListCuts cuts;
  // Whole words of rows are dealt out.
  cuts.rows = std::max<int64_t>(kPieceSteps * steps.rows / repeats, 64);
  if (rows < 2 * cuts.rows)
    return ListCuts();
  // Beside the bounds of documents the widest heads have no registers for walks that begin anywhere.
  if (getDocumentBounds(op) && getHeadDim(op) > 192)
    return ListCuts();
  auto listed = op->getAttrOfType<IntegerAttr>("listed");
  int64_t entries = rows * std::min(listed ? listed.getInt() : blocks.getDimSize(2), blocks.getDimSize(2));
  // Two blocks of one walk are cut as one that all their rows list.
  int64_t walks = std::max<int64_t>(1, getInteger(op, "key_block") / getWalkKeys(op));
  int64_t cutBlocks = std::min(entries / (2 * cuts.rows), kMaxCutBlocks);
  cuts.pieces = walks * std::min(entries, cutBlocks * rows * getWalkBlocks(op)) / cuts.rows;
  cuts.walks = walks * cutBlocks;
  return cuts;
}

static bool ownsKeys(Operation *op) { return isa<AttendGradKvOp>(op); }

static int64_t getSharedBytes(ScheduleAttr schedule, Operation *op) {
  int64_t row = llvm::alignTo(2 * getHeadDim(op), 128), stages = schedule.getStages();
  int64_t owned = 2 * schedule.getTileM() * row;
  if (ownsKeys(op)) {
    // Where a block is no multiple of the tile each consumer walks one of its own. Tiles, the LSE for each block and
    // delta of each row, the step's token; barriers; the counts of steps, and which piece a walk is.
    int64_t walks = schedule.getTileM() / getWalkKeys(op), slots = stages * walks;
    // Rows that wait, and the tokens of a step.
    if (getListSteps(op).gathered)
      owned += 4 * (walks * (kListWindow + kMaxGathered) + slots * kMaxGathered);
    return owned + slots * ListSteps::kRows * (2 * row + 4 * getWalkBlocks(op) + 4) + 32 * slots + 256;
  }
  BlockTiles tiles = getHopperTiles(schedule, cast<AttendGradQOp>(op));
  return owned + stages * schedule.getTileN() * 2 * row + 32 * stages + 64 + tiles.set.getBytes();
}

int64_t fresnel::getHopperListsMinBlocks(ScheduleAttr schedule, AttendGradQOp op) {
  return schedule.getTileM() == 64 && 2 * getSharedBytes(schedule, op) <= kTwoBlockBytes ? 2 : 1;
}

ScheduleAttr fresnel::getHopperListsDefault(Operation *op) {
  int64_t tileM = ownsKeys(op) ? getListKeys(op) : getInteger(op, "query_block") % 128 == 0 ? 128 : 64;
  auto make = [&](int64_t stages) {
    return ScheduleAttr::get(op->getContext(), Family::Hopper, tileM, kKeys, stages, /*persistent=*/false,
                             /*ping_pong=*/true, /*section=*/0);
  };
  int64_t stages = tileM == 64 && !ownsKeys(op) ? 2 : 4;
  while (stages > 1 && getSharedBytes(make(stages), op) > kSharedBytes)
    --stages;
  return make(stages);
}

std::string fresnel::explainHopperLists(Operation *op, const TargetInfo &target) {
  if (!target.hasWgmma)
    return llvm::formatv("family hopper needs wgmma, which {0} does not have; use portable", target.name);
  RankedTensorType q = getTensor(op->getOperand(0)), v = getTensor(op->getOperand(2));
  if (!q.getElementType().isBF16() && !q.getElementType().isF16())
    return "the matrix units take bf16 and f16, but the tensors hold f32; convert them";
  int64_t headDim = q.getDimSize(3), valueDim = v.getDimSize(3);
  if (!llvm::is_contained({64, 96, 128, 192, 256}, headDim) || headDim != valueDim)
    return llvm::formatv("the hopper gradients over block lists serve head dims 64, 96, 128, 192 and 256, equal for "
                         "keys and values, but got {0} and {1}; use portable",
                         headDim, valueDim);
  if (int64_t block = getInteger(op, "key_block"); block % kKeys && 2 * block != kKeys)
    return llvm::formatv("the hopper gradients over block lists serve blocks of {0} keys or a multiple of {1}, but "
                         "key_block is {2}; use portable",
                         kKeys / 2, kKeys, block);
  ListSteps steps = getListSteps(op);
  if (!llvm::isPowerOf2_64(steps.rows))
    return llvm::formatv("the hopper gradients over block lists walk {0} tokens of {1} heads at once, which {2} tokens "
                         "of a list row must divide or be a multiple of; use portable",
                         steps.tokens, steps.group, getInteger(op, "query_block"));
  if (int64_t bytes = getSharedBytes(getHopperListsDefault(op), op); bytes > kSharedBytes)
    return llvm::formatv(
        "the hopper gradients over block lists keep the lists of a tile in shared memory, but need {0} "
        "of {1} bytes; use portable",
        bytes, kSharedBytes);
  return "";
}

std::string fresnel::verifyHopperLists(ScheduleAttr schedule, Operation *op, const TargetInfo &target) {
  if (std::string reason = explainHopperLists(op, target); !reason.empty())
    return reason;
  int64_t tileM = schedule.getTileM(), tileN = schedule.getTileN(), stages = schedule.getStages();
  if (ownsKeys(op) && tileM != getListKeys(op))
    return llvm::formatv("tile_m, the keys of a thread block, must be {0} in gradients over block lists with head dim "
                         "{1}, but is {2}",
                         getListKeys(op), getHeadDim(op), tileM);
  if (tileM != 128 && tileM != 64)
    return llvm::formatv("tile_m must be 64 or 128 (64 for each consumer warpgroup), but is {0}", tileM);
  if (tileN != kKeys)
    return llvm::formatv("tile_n, the {0} of a step, must be {1} in gradients over block lists, but is {2}",
                         ownsKeys(op) ? "rows" : "keys", kKeys, tileN);
  if (schedule.getPersistent())
    return "gradients are not persistent; set persistent = false";
  if (!schedule.getPingPong())
    return "the consumers of gradients take no turns; leave ping_pong = true";
  if (stages < 1 || stages > 8)
    return llvm::formatv("stages must be in [1, 8], but is {0}", stages);
  if (schedule.getSection() < 0)
    return llvm::formatv("section must be positive, or 0 for the default, but is {0}", schedule.getSection());
  if (int64_t bytes = getSharedBytes(schedule, op); bytes > target.maxSharedBytes)
    return llvm::formatv("the tiles need {0} bytes of shared memory, but {1} has {2}; lower stages", bytes, target.name,
                         target.maxSharedBytes);
  RankedTensorType q = getTensor(op->getOperand(0)), k = getTensor(op->getOperand(1));
  int64_t blocks = ownsKeys(op) ? int64_t(llvm::divideCeil(k.getDimSize(2), tileM)) * k.getDimSize(0) * k.getDimSize(1)
                                : q.getNumElements() / q.getDimSize(3);
  if (blocks > std::numeric_limits<int32_t>::max())
    return llvm::formatv("{0} tiles are numbered with 31 bits; split the batch", blocks);
  return "";
}

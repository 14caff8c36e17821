//===- HopperGrad.cpp - Attention's gradients in the hopper family --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/HopperGrad.h"
#include "fresnel/Schedule/Hopper.h"
#include "fresnel/Schedule/Schedule.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include <limits>

using namespace mlir;
using namespace fresnel;

/// Shared memory of a block on every GPU of the generation.
static constexpr int64_t kSharedBytes = 227 * 1024;
/// Key heads side by side: with an order, and from so many steps of a head on; without
/// one, and for wide heads, whose tiles are more for L2 to hold. Without an order those of one head fill it from so
/// many steps on. With an order and without a mask wide heads have blocks that lag so far behind each other that L2
/// holds the tiles of one or two heads only.
static constexpr int64_t kLongSteps = 100000, kOrderedSection = 16, kLongOrderedSection = 8, kFewSection = 4;

/// Pooled keys are few: thread blocks up to which those of a key head share its query heads, two for each
/// multiprocessor.
static constexpr int64_t kFewBlocks = 2 * 132;

/// Keys up to which sums are in integers by default.
static constexpr int64_t kMostIntegerKeys = 131072;

static RankedTensorType getTensor(Value value) { return cast<RankedTensorType>(value.getType()); }

static int64_t getInteger(Operation *op, StringRef name, int64_t otherwise) {
  auto value = op->getAttrOfType<IntegerAttr>(name);
  return value ? value.getInt() : otherwise;
}

static bool isCausal(Operation *op) {
  auto causal = op->getAttrOfType<BoolAttr>("causal");
  return causal && causal.getValue();
}

static bool isPooled(Operation *op) {
  return getInteger(op, "key_window", 1) > 1 || getInteger(op, "key_stride", 1) > 1;
}

namespace {
/// How the gradient is cut; from any operation that has the operands and attributes of attention.
struct Cut {
  explicit Cut(Operation *op)
      : integers(isa<AttendGradOp>(op) && cast<AttendGradOp>(op).hasIntegerSums()),
        headDim(getTensor(op->getOperand(0)).getDimSize(3)), valueDim(getTensor(op->getOperand(2)).getDimSize(3)) {
    if (Value list = getBlockList(op)) {
      queryBlock = getInteger(op, "query_block", 1);
      keyBlock = getInteger(op, "key_block", 1);
      // All lists of a key head, each in whole words.
      RankedTensorType type = getTensor(list), k = getTensor(op->getOperand(1));
      int64_t rows = llvm::divideCeil(getTensor(op->getOperand(0)).getDimSize(2), queryBlock);
      int64_t words = int64_t(llvm::divideCeil(rows, 32)) * type.getDimSize(1) / k.getDimSize(1);
      lists = BlockSetSizes{/*rows=*/0, words, /*entries=*/32 * words, /*tail=*/0, kWarps};
    }
    // Keys of 192 with values of 128 leave registers for the gradients of 128 keys, if scores come in halves; not for
    // the masks of pooled keys beside those that add up shares.
    bool narrower = headDim == 192 && valueDim == 128 && !hasSoftcap(op) && !isPooled(op);
    wide = (headDim > 128 && !narrower) || keyBlock % 128;
    // 64 for each of two consumers, or 64 whose columns they share.
    keyRows = wide ? 64 : 128;
    // Enough for a square of 64 x 64 of dQ for each consumer. They lie side by side where the head
    // has several panels of 64 columns, else one below the other; beside a soft cap there are no
    // registers for so many queries, and one consumer has the only square.
    queryRows = headDim <= 64 && !hasSoftcap(op) ? 128 : 64;
    pairs = (headDim == 96 || headDim == 128) && !wide && !lists && !hasSoftcap(op) && !getDocumentBounds(op) &&
            !isPooled(op);
  }

  /// Whether a step has two tiles of `queryRows` queries.
  bool isPaired(int64_t tileN) const { return pairs && tileN == 2 * queryRows; }

  /// Shared memory of the kernel, in bytes.
  int64_t getSharedBytes(int64_t tileN, int64_t stages, int64_t doutStages) const {
    int64_t keyRow = llvm::alignTo(2 * headDim, 128), valueRow = llvm::alignTo(2 * valueDim, 128);
    int64_t keysAndValues = keyRows * (keyRow + valueRow), slots = stages + doutStages;
    int64_t ring = queryRows * (stages * (keyRow + (integers ? 8 : 4)) + doutStages * (valueRow + 4));
    // The gradients of the scores, twice, and where the consumers share columns the weights, too.
    int64_t scores = (wide ? 4 : 2) * queryRows * keyRows * 2;
    int64_t queryGradient = 2 * 64 * (isPaired(tileN) ? headDim : 64) * 4;
    // The list starts at a multiple of 16 bytes.
    int64_t listBytes = lists ? llvm::alignTo(lists->getBytes(), 16) + 16 : 0;
    return keysAndValues + ring + scores + queryGradient + 8 * (2 * slots + 1) + listBytes;
  }

  /// Why lists with these blocks are not served, or "".
  std::string explainBlocks(const TargetInfo &target) const {
    if ((queryBlock != 64 && queryBlock != 128) || queryBlock % queryRows)
      return llvm::formatv(
          "the hopper gradient serves lists for {0} queries with head dim {1}, but query_block is {2}; "
          "use portable",
          queryRows == 64 ? "64 or 128" : "128", headDim, queryBlock);
    if (keyBlock % 64)
      return llvm::formatv("the hopper gradient serves lists of blocks of a multiple of 64 keys, but key_block is {0}; "
                           "use portable",
                           keyBlock);
    if (keyBlock % 128 && headDim < 128)
      return llvm::formatv(
          "the hopper gradient serves lists of blocks of a multiple of 128 keys with head dim {0}, but "
          "key_block is {1}; use portable",
          headDim, keyBlock);
    if (int64_t bytes = getSharedBytes(queryRows, 1, 1); bytes > target.maxSharedBytes)
      return llvm::formatv(
          "the hopper gradient needs {0} bytes of shared memory for {1} list entries, but {2} has {3}; "
          "use portable",
          bytes, lists->entries, target.name, target.maxSharedBytes);
    return "";
  }

  /// Warps of the kernel: two consumers and the producer.
  static constexpr int64_t kWarps = 12;
  bool integers;
  int64_t headDim, valueDim, queryBlock = 128, keyBlock = 128;
  int64_t keyRows, queryRows;
  bool wide;
  /// Whether there are kernels with steps of twice as many queries.
  bool pairs;
  std::optional<BlockSetSizes> lists;
};
} // namespace

bool fresnel::isHopperGradWide(AttendGradOp op) { return Cut(op).wide; }

bool fresnel::isHopperGradPaired(ScheduleAttr schedule, AttendGradOp op) {
  return Cut(op).isPaired(schedule.getTileN());
}

bool fresnel::isHopperGradOrdered(ScheduleAttr schedule, AttendGradOp op) {
  return schedule.getOrdered() && !op.hasIntegerSums();
}

// Narrow heads wait little.
bool fresnel::allowsIntegerSums(Operation *op) { return Cut(op).headDim > 128; }

// Of more keys the sums are so much smaller than their bounds that tiles would be computed twice.
bool fresnel::prefersIntegerSums(Operation *op) {
  return allowsIntegerSums(op) && getTensor(op->getOperand(1)).getDimSize(2) <= kMostIntegerKeys;
}

std::optional<BlockSetSizes> fresnel::getHopperGradLists(AttendGradOp op) { return Cut(op).lists; }

std::string fresnel::explainHopperGrad(Operation *op, const TargetInfo &target) {
  if (!target.hasWgmma)
    return llvm::formatv("family hopper needs wgmma, which {0} does not have; use portable", target.name);
  RankedTensorType q = getTensor(op->getOperand(0)), v = getTensor(op->getOperand(2));
  if (!q.getElementType().isBF16() && !q.getElementType().isF16())
    return "the matrix units take bf16 and f16, but the tensors hold f32; convert them";
  int64_t headDim = q.getDimSize(3), valueDim = v.getDimSize(3);
  std::pair<int64_t, int64_t> dims(headDim, valueDim);
  bool narrower =
      !getBlockList(op) &&
      llvm::is_contained({std::pair<int64_t, int64_t>(128, 64), {128, 96}, {192, 128}, {256, 128}, {256, 192}}, dims);
  if (!narrower && (headDim != valueDim || !llvm::is_contained({64, 96, 128, 192, 256}, headDim)))
    return llvm::formatv(
        "the hopper gradient serves head dims 64, 96, 128, 192 and 256, equal for keys and values, or 128/64, 128/96, "
        "192/128, 256/128 and 256/192, but got {0} and {1}; use portable",
        headDim, valueDim);
  if (getBlockList(op) && getDocumentBounds(op))
    return "the hopper gradient in one pass serves no block lists within documents; leave ordered = true";
  if (hasSoftcap(op) && headDim == 128 && getDocumentBounds(op))
    return "the hopper gradient has no registers for a soft cap beside the bounds of documents with head dim 128; use "
           "portable";
  // Of other operations fresnel-fuse-attend-grad makes a gradient with narrower bounds.
  if (int64_t window = getInteger(op, "window", 0); isa<AttendGradOp>(op) && getDocumentBounds(op) && window > 0)
    return llvm::formatv(
        "the hopper gradient takes the window within documents from their bounds, but `window` is {0}; "
        "narrow them with fresnel.narrow_bounds",
        window);
  return getBlockList(op) ? Cut(op).explainBlocks(target) : "";
}

int64_t fresnel::getHopperGradDoutStages(ScheduleAttr schedule, AttendGradOp op) {
  int64_t stages = schedule.getStages();
  while (stages > 1 && Cut(op).getSharedBytes(schedule.getTileN(), schedule.getStages(), stages) > kSharedBytes)
    --stages;
  return stages;
}

std::string fresnel::verifyHopperGrad(ScheduleAttr schedule, AttendGradOp op, const TargetInfo &target) {
  if (std::string reason = explainHopperGrad(op, target); !reason.empty())
    return reason;
  if (schedule.getIntegers() && !op.hasIntegerSums())
    return "integers = true needs head dim 192 or 256, no lists, documents or pooled keys, and the LSE of an attention "
           "in the program; leave it out";
  if (!schedule.getIntegers() && op.hasIntegerSums())
    return "dQ is a tensor of integers; set integers = true";
  RankedTensorType k = getTensor(op.getK());
  Cut cut(op);
  if (schedule.getTileM() != cut.keyRows)
    return llvm::formatv(
        "tile_m, the keys of a thread block, must be {0} in gradients with head dim {1}{2}, but is {3}", cut.keyRows,
        cut.headDim, cut.lists ? " and these lists" : "", schedule.getTileM());
  if (schedule.getTileN() != cut.queryRows && !cut.isPaired(schedule.getTileN()))
    return llvm::formatv("tile_n, the queries of a step, must be {0}{1} in gradients with head dim {2}{3}, but is {4}",
                         cut.queryRows, cut.pairs ? " or 128" : "", cut.headDim,
                         cut.headDim <= 64 && hasSoftcap(op) ? " and a soft cap" : "", schedule.getTileN());
  if (schedule.getCluster() != 1 && schedule.getCluster() != 2)
    return llvm::formatv("cluster must be 1 or 2, but is {0}", schedule.getCluster());
  if (schedule.getCluster() > 1 && (!cut.wide || !op.getMask().empty() || isPooled(op)))
    return "gradients run in clusters with head dims 192 and 256, without documents, lists or pooled keys; set "
           "cluster = 1";
  if (schedule.getPersistent())
    return "gradients are not persistent; set persistent = false";
  if (!schedule.getPingPong())
    return "the consumers of gradients take no turns; leave ping_pong = true";
  if (schedule.getStages() < 1 || schedule.getStages() > 8)
    return llvm::formatv("stages must be in [1, 8], but is {0}", schedule.getStages());
  // A tile is given back once the products with the next one have begun.
  if (int64_t tiles = std::min(schedule.getStages(), getHopperGradDoutStages(schedule, op));
      cut.isPaired(schedule.getTileN()) && tiles < 2)
    return llvm::formatv("steps of {0} queries hold two tiles of them and of their outputs' gradients, but with stages "
                         "{1} there is room for {2}; set stages = 2 or tile_n = {3}",
                         schedule.getTileN(), schedule.getStages(), tiles, cut.queryRows);
  if (schedule.getSection() < 0)
    return llvm::formatv("section must be positive, or 0 for the default, but is {0}", schedule.getSection());
  int64_t blocks = llvm::divideCeil(k.getDimSize(2), schedule.getTileM()) * k.getDimSize(0) * k.getDimSize(1) *
                   getHopperGradShares(op);
  if (blocks > std::numeric_limits<int32_t>::max())
    return llvm::formatv("{0} blocks of keys are numbered with 31 bits; split the batch", blocks);
  int64_t bytes = cut.getSharedBytes(schedule.getTileN(), schedule.getStages(), getHopperGradDoutStages(schedule, op));
  if (bytes > target.maxSharedBytes)
    return llvm::formatv("the tiles need {0} bytes of shared memory, but {1} has {2}; lower stages", bytes, target.name,
                         target.maxSharedBytes);
  return "";
}

ScheduleAttr fresnel::getHopperGradDefault(AttendGradOp op, bool ordered) {
  Cut cut(op);
  // Without a mask, or with a window, steps of twice as many queries gain nothing.
  bool isPlain = isCausal(op) && getInteger(op, "window", 0) <= 0 && cut.headDim == cut.valueDim;
  int64_t tileN = cut.pairs && isPlain ? 2 * cut.queryRows : cut.queryRows;
  int64_t stages = cut.getSharedBytes(cut.queryRows, 2, 1) <= kSharedBytes ? 2 : 1;
  // Query heads that share a key head walk so many tiles that L2 holds them only if blocks do so side by side; in order
  // they wait for each other anyway.
  bool shared = getTensor(op.getQ()).getDimSize(1) > getTensor(op.getK()).getDimSize(1);
  int64_t cluster = shared && cut.wide && op.hasIntegerSums() ? 2 : 1;
  return ScheduleAttr::get(op.getContext(), Family::Hopper, cut.keyRows, tileN, stages, /*persistent=*/false,
                           /*ping_pong=*/true, /*section=*/0, ordered, cluster, op.hasIntegerSums(), /*early=*/0,
                           /*shared_weights=*/false);
}

int64_t fresnel::getHopperGradShares(AttendGradOp op) {
  Cut cut(op);
  RankedTensorType q = getTensor(op.getQ()), k = getTensor(op.getK());
  int64_t group = q.getDimSize(1) / k.getDimSize(1), shares = 1;
  int64_t blocks = llvm::divideCeil(k.getDimSize(2), cut.keyRows) * k.getDimSize(0) * k.getDimSize(1);
  if (cut.wide || cut.lists || !isPooled(op))
    return 1;
  while (shares < group && (group % shares || blocks * shares < kFewBlocks))
    ++shares;
  return shares;
}

// Measured on an H100 under its power limit; see docs/performance.md.
int64_t fresnel::getHopperGradSection(ScheduleAttr schedule, AttendGradOp op) {
  RankedTensorType q = getTensor(op.getQ()), k = getTensor(op.getK());
  int64_t shares = getHopperGradShares(op), heads = k.getDimSize(0) * k.getDimSize(1) * shares;
  int64_t group = q.getDimSize(1) / k.getDimSize(1) / shares;
  if (schedule.getSection() > 0)
    return std::min(schedule.getSection(), heads);
  // Over lists, the dQ of one head fills L2, and so do the queries that clusters walk.
  if (op.getBlocks() || schedule.getCluster() > 1)
    return 1;
  bool wide = isHopperGradWide(op), ordered = isHopperGradOrdered(schedule, op);
  if (wide && ordered && !isCausal(op) && op.getMask().empty())
    return std::min<int64_t>(q.getDimSize(3) > 192 ? 1 : 2, heads);
  int64_t steps = int64_t(llvm::divideCeil(k.getDimSize(2), schedule.getTileM())) *
                  int64_t(llvm::divideCeil(q.getDimSize(2), schedule.getTileN())) * group / (isCausal(op) ? 2 : 1);
  bool isLong = steps >= kLongSteps;
  if (ordered && !wide)
    return std::min(isLong ? kLongOrderedSection : kOrderedSection, heads);
  return isLong && q.getDimSize(3) == 128 ? 1 : std::min(kFewSection, heads);
}

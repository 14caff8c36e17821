//===- Hopper.cpp - What the hopper family allows and prefers -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/Hopper.h"
#include "fresnel/Schedule/Blocks.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include <limits>

using namespace mlir;
using namespace fresnel;

/// What a section's keys and values may take of the 50 MB of L2; the rest is for
/// queries and outputs that pass through.
static constexpr int64_t kSectionBytes = int64_t(32) << 20;
/// Up to this many keys causal kernels are persistent by default; dense ones with head dim 128, whose tiles are
/// chained, up to kMaxChainedKeys. Full masks of that head dim are from more than kMaxPlainFullKeys on.
static constexpr int64_t kMaxPersistentKeys = 8192, kMaxChainedKeys = 16384, kMaxPlainFullKeys = 2048;
/// Up to this many keys all of these are persistent only if there are tiles to follow others.
static constexpr int64_t kMaxPlainKeys = 4096;
/// From more than so many keys on weights are in shared memory by default with head dim 96 under a causal mask; without
/// one from more than kMaxPlainFullKeys on, in windows from more than kMaxPersistentKeys on.
static constexpr int64_t kMaxRegisterKeys = 1024;
/// Keys that are weighed before the wait for the product with values, in kernels that hold their queries in registers,
/// of more than so many keys.
static constexpr int64_t kEarlyKeys = 16, kMaxLateKeys = 1024;
/// From this many keys on, more than L2 holds of a head, blocks fetch them in pairs.
static constexpr int64_t kMinClusterKeys = 131072;
/// Up to this many keys, a few blocks, wide ones hide more scores than they save, and spill:
/// their copies of the loop are merged.
static constexpr int64_t kMaxBriefKeys = 512;
/// Shared memory of a block on every GPU of the generation.
static constexpr int64_t kSharedBytes = 227 * 1024;
/// What two blocks of a multiprocessor have together.
static constexpr int64_t kTwoBlockBytes = 226 * 1024;
/// Keys of a step of several blocks where the rows of a tile have lists of their own: for each block they are asked
/// whether they see it.
static constexpr int64_t kRowListKeys = 64;
/// Those for both bounds of the documents of two rows, and of the warpgroup's: without a diagonal they are needed from
/// the first block to the last, and a chained tile has others beside the sums of the one before.
static constexpr int64_t kBoundRegisters = 8;
/// Up to so many tiles of a head are put in the order of their work by each thread block of a persistent kernel over
/// documents. With more, the last ones to end are a smaller part than the order costs.
static constexpr int64_t kMaxOrderedTiles = 256;
/// Registers of a consumer beside its fragments: addresses, masks, row state.
static constexpr int64_t kOtherRegisters = 28;

static int64_t getHeadDim(AttendOp op) { return cast<RankedTensorType>(op.getQ().getType()).getDimSize(3); }
static bool isPooled(AttendOp op) { return op.getKeyWindow() > 1 || op.getKeyStride() > 1; }
static int64_t getKeys(AttendOp op) { return cast<RankedTensorType>(op.getK().getType()).getDimSize(2); }
static int64_t getValueDim(AttendOp op) { return cast<RankedTensorType>(op.getV().getType()).getDimSize(3); }

bool fresnel::hasSoftcap(Operation *op) {
  auto softcap = op->getAttrOfType<FloatAttr>("softcap");
  return softcap && softcap.getValueAsDouble() > 0;
}

HopperRegisters fresnel::getHopperRegisters(int64_t consumers, int64_t minBlocks) {
  // Two blocks of one consumer each: 128 * 2 = 24 + 232.
  if (minBlocks == 2)
    return {24, 232};
  // What the block starts with, 65536 / (128 * (consumers + 1)) in steps of 8,
  // is dealt anew: 168 * 3 = 24 + 2 * 240 and 128 * 4 = 32 + 3 * 160.
  return consumers >= 3 ? HopperRegisters{32, 160} : HopperRegisters{24, 240};
}

int64_t fresnel::getHopperSection(ScheduleAttr schedule, int64_t keys, int64_t columns, int64_t headsPerKeyHead,
                                  int64_t heads) {
  if (schedule.getSection() > 0)
    return std::min(schedule.getSection(), heads);
  int64_t most = std::max<int64_t>(1, kSectionBytes / (keys * columns * 2));
  // The longest tiles of a section that is smaller than the others would be the last ones to end: all are alike.
  int64_t keyHeads = llvm::divideCeil(heads, headsPerKeyHead), sections = llvm::divideCeil(keyHeads, most);
  int64_t section = llvm::divideCeil(keyHeads, sections);
  auto isAlike = [&](int64_t size) { return keyHeads % size == 0 || keyHeads % size == size - 1; };
  while (!isAlike(section))
    --section;
  return std::min<int64_t>(section * headsPerKeyHead, heads);
}

int64_t fresnel::getHopperPanel(int64_t columns) {
  return llvm::alignTo(columns, 32) < llvm::alignTo(columns, 64) ? 32 : 64;
}

/// Bytes of a row of a tile: whole panels.
static int64_t getRowBytes(int64_t columns) { return 2 * llvm::alignTo(columns, getHopperPanel(columns)); }

/// The same of the output, which is laid out as the queries: where it takes their place, a consumer's rows lie in its
/// own.
static int64_t getOutputRowBytes(AttendOp op) {
  return 2 * llvm::alignTo(getValueDim(op), getHopperPanel(getHeadDim(op)));
}

static int64_t getWeightBytes(ScheduleAttr schedule) {
  return schedule.getSharedWeights() ? schedule.getTileM() * getRowBytes(schedule.getTileN()) : 0;
}

/// Without a tile for the output; chained, with the queries of two tiles.
static int64_t getInputBytes(ScheduleAttr schedule, AttendOp op, bool chained) {
  int64_t keyRow = getRowBytes(getHeadDim(op)), valueRow = getRowBytes(getValueDim(op));
  int64_t blocks = schedule.getStages() * schedule.getTileN() * (keyRow + valueRow), queries = chained ? 2 : 1;
  // The mbarriers of the rings and of the tiles' numbers, and those numbers.
  int64_t others = 8 * (4 * schedule.getStages() + 3 * queries) + 16;
  int64_t scratch = schedule.getEarly() ? schedule.getTileM() / 64 * kHopperScratch * 4 : 0;
  return queries * schedule.getTileM() * keyRow + blocks + getWeightBytes(schedule) + others + scratch;
}

/// Scores and accumulator in f32, weights in 16 bits, of 64 rows in 128 threads.
static int64_t countConsumerRegisters(ScheduleAttr schedule, AttendOp op) {
  int64_t tileN = schedule.getTileN(), weights = schedule.getSharedWeights() ? 0 : tileN / 4;
  return tileN / 2 + getValueDim(op) / 2 + weights + kOtherRegisters;
}

bool fresnel::isHopperChained(ScheduleAttr schedule, AttendOp op) {
  // An output that takes the queries' place is as large.
  bool alike = getHeadDim(op) == getValueDim(op);
  int64_t bounds = op.getDocuments() && !op.getCausal() ? kBoundRegisters : 0;
  int64_t have = getHopperRegisters(schedule.getTileM() / 64, /*minBlocks=*/1).consumer;
  bool fits =
      getInputBytes(schedule, op, true) <= kSharedBytes && countConsumerRegisters(schedule, op) + bounds <= have;
  return schedule.getPersistent() && alike && fits;
}

/// Without a tile for the output.
static int64_t getInputBytes(ScheduleAttr schedule, AttendOp op) {
  return getInputBytes(schedule, op, isHopperChained(schedule, op));
}

bool fresnel::hasHopperOutputTile(ScheduleAttr schedule, AttendOp op) {
  int64_t output = schedule.getTileM() * getOutputRowBytes(op);
  return schedule.getPersistent() && getInputBytes(schedule, op) + output <= kSharedBytes;
}

bool fresnel::reusesHopperWeights(ScheduleAttr schedule, AttendOp op) {
  // A consumer's rows of the one lie in those of the other, too.
  int64_t tileN = schedule.getTileN();
  bool fits = getRowBytes(tileN) >= getOutputRowBytes(op) && getHopperPanel(tileN) == getHopperPanel(getHeadDim(op));
  return schedule.getSharedWeights() && schedule.getPersistent() && fits && !isHopperChained(schedule, op) &&
         !hasHopperOutputTile(schedule, op);
}

bool fresnel::holdsHopperQueries(ScheduleAttr schedule, AttendOp op) {
  // Measured with head dim 128: 1 to 3 % faster under a causal mask, as much slower without. Kernels with a few blocks
  // of keys spill.
  bool pays = op.getCausal() && !isPooled(op) && getHeadDim(op) == 128 && getKeys(op) > kMaxBriefKeys;
  if (!pays || !isHopperChained(schedule, op) || !hasHopperOutputTile(schedule, op))
    return false;
  int64_t have = getHopperRegisters(schedule.getTileM() / 64, /*minBlocks=*/1).consumer;
  return countConsumerRegisters(schedule, op) + getHeadDim(op) / 4 <= have;
}

/// Without the order of tiles.
static int64_t getTileBytes(ScheduleAttr schedule, AttendOp op) {
  int64_t bytes = getInputBytes(schedule, op);
  if (op.getBlocks())
    bytes += getHopperTiles(schedule, op).set.getBytes();
  return hasHopperOutputTile(schedule, op) ? bytes + schedule.getTileM() * getOutputRowBytes(op) : bytes;
}

int64_t fresnel::countHopperOrder(ScheduleAttr schedule, AttendOp op) {
  int64_t queries = cast<RankedTensorType>(op.getQ().getType()).getDimSize(2);
  int64_t tiles = llvm::divideCeil(queries, schedule.getTileM());
  bool gains = schedule.getPersistent() && op.getDocuments() && tiles > 1 && tiles <= kMaxOrderedTiles;
  return gains && getTileBytes(schedule, op) + 2 * tiles <= kSharedBytes ? tiles : 0;
}

int64_t fresnel::getHopperSharedBytes(ScheduleAttr schedule, AttendOp op) {
  return getTileBytes(schedule, op) + 2 * countHopperOrder(schedule, op);
}

int64_t fresnel::getHopperMinBlocks(ScheduleAttr schedule, AttendOp op) {
  // What a block starts with, 65536 / 512 registers, must hold the operands of one product.
  bool narrow = std::max(schedule.getTileN(), getValueDim(op)) <= 192;
  bool fits = narrow && 2 * getHopperSharedBytes(schedule, op) <= kTwoBlockBytes;
  return op.getBlocks() && schedule.getTileM() == 64 && fits ? 2 : 1;
}

static ScheduleAttr getBlocksDefault(AttendOp op);

/// Block lists: a block arrives in whole boxes, and a tile's lists stay in shared memory.
static std::string explainBlocks(AttendOp op) {
  if (int64_t keyBlock = op.getKeyBlock(); keyBlock % 16)
    return llvm::formatv("family hopper serves block lists whose `key_block` is a multiple of 16, but it is {0}; use "
                         "portable",
                         keyBlock);
  if (int64_t bytes = getHopperSharedBytes(getBlocksDefault(op), op); bytes > kSharedBytes)
    return llvm::formatv("family hopper keeps the lists of a tile in shared memory, but with {0} blocks needs {1} of "
                         "{2} bytes; use portable",
                         llvm::divideCeil(cast<RankedTensorType>(op.getK().getType()).getDimSize(2), op.getKeyBlock()),
                         bytes, kSharedBytes);
  return "";
}

static std::string verifyBlocks(ScheduleAttr schedule, AttendOp op) {
  int64_t keyBlock = op.getKeyBlock(), tileN = schedule.getTileN(), rows = getHopperTiles(schedule, op).listRows;
  if (schedule.getPersistent())
    return "kernels over block lists are not persistent; set persistent = false";
  if (rows > 1 && keyBlock % tileN && tileN > kRowListKeys)
    return llvm::formatv("tile_n must be at most {0} or divide `key_block` {1} where the queries of a tile have {2} "
                         "lists, but is {3}",
                         kRowListKeys, keyBlock, rows, tileN);
  if (keyBlock % tileN && tileN % keyBlock)
    return llvm::formatv("tile_n must divide `key_block` {0} or be a multiple of it, but is {1}", keyBlock, tileN);
  return "";
}

std::string fresnel::explainHopper(AttendOp op, const TargetInfo &target) {
  if (!target.hasWgmma)
    return llvm::formatv("family hopper needs wgmma, which {0} does not have; use portable", target.name);
  if (std::string reason = op.getBlocks() ? explainBlocks(op) : ""; !reason.empty())
    return reason;
  int64_t headDim = getHeadDim(op), valueDim = getValueDim(op);
  for (int64_t dim : {headDim, valueDim})
    if (!llvm::is_contained({64, 96, 128, 192, 256}, dim))
      return llvm::formatv("family hopper serves head dims 64, 96, 128, 192 and 256, but got {0}; use portable", dim);
  if (valueDim > headDim)
    return llvm::formatv("family hopper needs values no wider than keys, but got {0} and {1}; use portable", valueDim,
                         headDim);
  return "";
}

/// Whether neighbouring tiles of queries want the same blocks of keys, but for some that come first.
static bool hasSharedKeys(AttendOp op) {
  int64_t queries = cast<RankedTensorType>(op.getQ().getType()).getDimSize(2);
  int64_t keys = cast<RankedTensorType>(op.getK().getType()).getDimSize(2);
  bool plain = !op.getBlocks() && !op.getDocuments() && op.getWindow() <= 0 && !isPooled(op);
  return plain && (!op.getCausal() || queries <= keys);
}

static std::string verifyCluster(ScheduleAttr schedule, AttendOp op) {
  if (schedule.getCluster() == 1)
    return "";
  if (schedule.getCluster() != 2)
    return llvm::formatv("cluster must be 1 or 2, but is {0}", schedule.getCluster());
  if (!hasSharedKeys(op))
    return "a cluster's tiles visit the same keys; with block lists, documents, windows, pooled keys or queries in "
           "front of all keys set cluster = 1";
  if (schedule.getPersistent())
    return "a persistent kernel hands out its tiles one by one; set persistent = false or cluster = 1";
  return "";
}

std::string fresnel::verifyHopper(ScheduleAttr schedule, AttendOp op, const TargetInfo &target) {
  if (std::string reason = explainHopper(op, target); !reason.empty())
    return reason;
  int64_t tileM = schedule.getTileM(), tileN = schedule.getTileN(), stages = schedule.getStages();
  if (!llvm::is_contained({64, 128, 192}, tileM))
    return llvm::formatv("tile_m must be 64, 128 or 192 (64 for each consumer warpgroup), but is {0}", tileM);
  if (tileN % 16 || tileN < 16 || tileN > 256)
    return llvm::formatv("tile_n must be a multiple of 16 in [16, 256], but is {0}", tileN);
  if (stages < 1 || stages > 8)
    return llvm::formatv("stages must be in [1, 8], but is {0}", stages);
  if (schedule.getSection() < 0)
    return llvm::formatv("section must be positive, or 0 for the default, but is {0}", schedule.getSection());
  if (int64_t early = schedule.getEarly(); early < 0 || early % 8 || early >= tileN)
    return llvm::formatv("early must be a multiple of 8, less than tile_n {0}, but is {1}; set early = 0 for none",
                         tileN, early);
  if (std::string reason = verifyCluster(schedule, op); !reason.empty())
    return reason;
  auto q = cast<RankedTensorType>(op.getQ().getType());
  BlockTiles rows = getHopperTiles(schedule, op);
  int64_t tiles = llvm::divideCeil(q.getDimSize(2), rows.tokens) * q.getDimSize(0) * (q.getDimSize(1) / rows.group);
  if (tiles > std::numeric_limits<int32_t>::max())
    return llvm::formatv("{0} tiles of queries are numbered with 31 bits; split the batch", tiles);
  if (std::string reason = op.getBlocks() ? verifyBlocks(schedule, op) : ""; !reason.empty())
    return reason;
  if (int64_t bytes = getHopperSharedBytes(schedule, op); bytes > target.maxSharedBytes) {
    std::string others;
    if (int64_t weights = getWeightBytes(schedule))
      others = llvm::formatv(", or set shared_weights = false, which takes {0} less", weights);
    return llvm::formatv("the tiles need {0} bytes of shared memory, but {1} has {2}; lower tile_n or stages{3}", bytes,
                         target.name, target.maxSharedBytes, others);
  }
  int64_t have = getHopperRegisters(tileM / 64, getHopperMinBlocks(schedule, op)).consumer;
  int64_t need = countConsumerRegisters(schedule, op);
  if (need > have)
    return llvm::formatv("a consumer thread needs about {0} registers, but has {1}; lower tile_n{2}{3}", need, have,
                         tileM == 192 ? ", or take tile_m = 128" : "",
                         schedule.getSharedWeights() ? "" : ", or set shared_weights = true");
  return "";
}

/// The widest tile that keys of a block fill, or that whole blocks fill, within what the registers hold.
static ScheduleAttr getBlocksDefault(AttendOp op) {
  int64_t headDim = getHeadDim(op), keyBlock = op.getKeyBlock(), tileM = op.getQueryBlock() % 128 ? 64 : 128;
  int64_t widest = headDim >= 256 ? 80 : headDim >= 192 ? 112 : 128;
  // Two blocks share a multiprocessor's memory.
  if (tileM == 64 && headDim >= 96)
    widest = std::min<int64_t>(widest, 64);
  auto make = [&](int64_t tileN, int64_t stages) {
    return ScheduleAttr::get(op.getContext(), Family::Hopper, tileM, tileN, stages, /*persistent=*/false,
                             /*ping_pong=*/true, /*section=*/0);
  };
  int64_t tileN = 16;
  bool severalRows = getHopperTiles(make(tileN, 2), op).listRows > 1;
  for (int64_t width = 16; width <= widest; width += 16)
    if (keyBlock % width == 0 || (width % keyBlock == 0 && (!severalRows || width <= kRowListKeys)))
      tileN = width;
  return tileM == 64 && getHopperMinBlocks(make(tileN, 3), op) == 2 ? make(tileN, 3) : make(tileN, 2);
}

static int64_t countTiles(AttendOp op, int64_t queries) {
  auto q = cast<RankedTensorType>(op.getQ().getType());
  return llvm::divideCeil(q.getDimSize(2), queries) * q.getDimSize(0) * q.getDimSize(1);
}

/// Short rows that are few: no tile follows another, or with head dim 128 one does. There is little to hide
/// then, and the counter of a persistent kernel costs the launch a memset.
static bool hasFewTiles(AttendOp op, int64_t keys) {
  return !op.getDocuments() && keys <= kMaxPlainKeys &&
         countTiles(op, 128) <= (getHeadDim(op) == 128 ? 2 : 1) * kHopperMultiprocessors;
}

/// Head dim 96, where two consumers of 128 queries are slower than three, for whose weights there are no registers.
static bool sharesWeights(AttendOp op, int64_t keys) {
  if (getHeadDim(op) != 96 || getValueDim(op) != 96 || op.getDocuments() || isPooled(op))
    return false;
  // Persistent kernels with a window would spill.
  int64_t most = op.getWindow() > 0 ? kMaxPersistentKeys : op.getCausal() ? kMaxRegisterKeys : kMaxPlainFullKeys;
  return keys > most && countTiles(op, 192) >= 2 * kHopperMultiprocessors;
}

// Measured on H100s and H200s under their power limit; see docs/performance.md.
ScheduleAttr fresnel::getHopperDefault(AttendOp op) {
  if (op.getBlocks())
    return getBlocksDefault(op);
  int64_t keys = cast<RankedTensorType>(op.getK().getType()).getDimSize(2);
  int64_t queries = cast<RankedTensorType>(op.getQ().getType()).getDimSize(2);
  bool brief = keys <= kMaxBriefKeys, causal = op.getCausal();
  // What persistence hides, the start and the end of a tile, counts where tiles are short; long ones run
  // a little faster from a plain grid. Documents cut the rows of keys short, and the tiles differ in length.
  bool isChained = getHeadDim(op) == 128 && hasSharedKeys(op);
  bool shares = sharesWeights(op, keys);
  bool pays = causal || shares || (isChained && keys > kMaxPlainFullKeys);
  // A window is all that a row sees.
  int64_t row = getHeadDim(op) == 128 && op.getWindow() > 0 ? std::min<int64_t>(keys, op.getWindow()) : keys;
  bool isShort = op.getDocuments() || (pays && row <= (isChained && causal ? kMaxChainedKeys : kMaxPersistentKeys));
  bool persistent = isShort && !hasFewTiles(op, keys);
  int64_t cluster = isChained && row >= kMinClusterKeys ? 2 : 1;
  auto make = [&](int64_t tileM, int64_t tileN) {
    auto makeEarly = [&](int64_t early) {
      return ScheduleAttr::get(op.getContext(), Family::Hopper, tileM, tileN, /*stages=*/2, persistent,
                               /*ping_pong=*/true, /*section=*/0, cluster, early, shares);
    };
    // Elsewhere ptxas takes nearly all exponentials in front, or little is won.
    bool gains = keys > kMaxLateKeys && holdsHopperQueries(makeEarly(kEarlyKeys), op);
    return makeEarly(gains ? kEarlyKeys : 0);
  };
  switch (getHeadDim(op)) {
  case 64:
    // Tiles of 192 queries that are few, or that the sequence does not fill, leave multiprocessors idle.
    if (causal && hasSharedKeys(op) && !brief && (keys <= 1024 || countTiles(op, 192) < 2 * kHopperMultiprocessors))
      return make(128, 128);
    // An offset between queries and keys takes registers beside a plain grid's.
    return make(192, brief ? 64 : causal && keys != queries && !isShort ? 112 : 128);
  case 96:
    // Persistent tiles are chained with 128 keys, for 144 there is no shared memory; a window and an offset take the
    // registers.
    if (shares)
      return make(192, persistent || op.getWindow() > 0 || keys != queries ? 128 : 144);
    // An offset between queries and keys takes the registers that 192 would need, and so do documents.
    return make(128, isPooled(op) || brief ? 128 : keys == queries && !op.getDocuments() ? 192 : 160);
  case 128:
    // Wide blocks correct the accumulator less often; beside a diagonal, and at the end, short
    // sequences pay for them with hidden scores.
    // Where keys stand for several tokens, the mask takes the registers that more columns would need.
    // Documents and windows have edges on the left, too, and under a causal mask narrow blocks leave room for the
    // queries.
    if (isPooled(op) || brief || op.getDocuments() || (hasSharedKeys(op) && (isShort || keys <= kMaxPlainFullKeys)) ||
        (op.getWindow() > 0 && isShort))
      return make(128, 128);
    return make(128, isShort ? 160 : 192);
  case 192:
    return make(128, brief ? 64 : getValueDim(op) <= 128 ? 128 : 112);
  default:
    return make(128, brief ? 64 : 80);
  }
}

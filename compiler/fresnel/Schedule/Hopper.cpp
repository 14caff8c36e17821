//===- Hopper.cpp - What the hopper family allows and prefers -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/Hopper.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include <limits>

using namespace mlir;
using namespace fresnel;

/// What a section's keys and values may take of the 50 MB of L2; the rest is for
/// queries and outputs that pass through.
static constexpr int64_t kSectionBytes = int64_t(32) << 20;
/// Up to this many keys causal kernels are persistent by default.
static constexpr int64_t kMaxPersistentKeys = 8192;
/// Shared memory of a block on every GPU of the generation.
static constexpr int64_t kSharedBytes = 227 * 1024;
/// Registers of a consumer beside its fragments: addresses, masks, row state.
static constexpr int64_t kOtherRegisters = 28;

static int64_t getHeadDim(AttendOp op) { return cast<RankedTensorType>(op.getQ().getType()).getDimSize(3); }
static int64_t getValueDim(AttendOp op) { return cast<RankedTensorType>(op.getV().getType()).getDimSize(3); }

HopperRegisters fresnel::getHopperRegisters(int64_t consumers) {
  // What the block starts with, 65536 / (128 * (consumers + 1)) in steps of 8,
  // is dealt anew: 168 * 3 = 24 + 2 * 240 and 128 * 4 = 32 + 3 * 160.
  return consumers >= 3 ? HopperRegisters{32, 160} : HopperRegisters{24, 240};
}

int64_t fresnel::getHopperSection(ScheduleAttr schedule, int64_t keys, int64_t columns, int64_t headsPerKeyHead,
                                  int64_t heads) {
  if (schedule.getSection() > 0)
    return std::min(schedule.getSection(), heads);
  int64_t section = std::max<int64_t>(1, kSectionBytes / (keys * columns * 2)) * headsPerKeyHead;
  return std::min(section, heads);
}

/// Bytes of a row of a tile: whole panels of 64 columns.
static int64_t getRowBytes(int64_t dim) { return llvm::alignTo(2 * dim, 128); }

/// Without a tile for the output.
static int64_t getInputBytes(ScheduleAttr schedule, int64_t headDim, int64_t valueDim) {
  int64_t blocks = schedule.getStages() * schedule.getTileN() * (getRowBytes(headDim) + getRowBytes(valueDim));
  // The mbarriers of both rings, of the queries and of the tile's number, and that number.
  int64_t others = 8 * (4 * schedule.getStages() + 3) + 16;
  return schedule.getTileM() * getRowBytes(headDim) + blocks + others;
}

bool fresnel::hasHopperOutputTile(ScheduleAttr schedule, int64_t headDim, int64_t valueDim) {
  int64_t output = schedule.getTileM() * getRowBytes(valueDim);
  return schedule.getPersistent() && getInputBytes(schedule, headDim, valueDim) + output <= kSharedBytes;
}

int64_t fresnel::getHopperSharedBytes(ScheduleAttr schedule, int64_t headDim, int64_t valueDim) {
  int64_t bytes = getInputBytes(schedule, headDim, valueDim);
  return hasHopperOutputTile(schedule, headDim, valueDim) ? bytes + schedule.getTileM() * getRowBytes(valueDim) : bytes;
}

std::string fresnel::explainHopper(AttendOp op, const TargetInfo &target) {
  if (!target.hasWgmma)
    return llvm::formatv("family hopper needs wgmma, which {0} does not have; use portable", target.name);
  int64_t headDim = getHeadDim(op), valueDim = getValueDim(op);
  for (int64_t dim : {headDim, valueDim})
    if (!llvm::is_contained({64, 96, 128, 192, 256}, dim))
      return llvm::formatv("family hopper serves head dims 64, 96, 128, 192 and 256, but got {0}; use portable", dim);
  if (valueDim > headDim)
    return llvm::formatv("family hopper needs values no wider than keys, but got {0} and {1}; use portable", valueDim,
                         headDim);
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
  auto q = cast<RankedTensorType>(op.getQ().getType());
  int64_t tiles = llvm::divideCeil(q.getDimSize(2), tileM) * q.getDimSize(0) * q.getDimSize(1);
  if (tiles > std::numeric_limits<int32_t>::max())
    return llvm::formatv("{0} tiles of queries are numbered with 31 bits; split the batch", tiles);
  int64_t headDim = getHeadDim(op), valueDim = getValueDim(op);
  if (int64_t bytes = getHopperSharedBytes(schedule, headDim, valueDim); bytes > target.maxSharedBytes)
    return llvm::formatv("the tiles need {0} bytes of shared memory, but {1} has {2}; lower tile_n or stages", bytes,
                         target.name, target.maxSharedBytes);
  // Scores and accumulator in f32, weights in 16 bits, of 64 rows in 128 threads.
  int64_t have = getHopperRegisters(tileM / 64).consumer;
  int64_t need = tileN / 2 + valueDim / 2 + tileN / 4 + kOtherRegisters;
  if (need > have)
    return llvm::formatv("a consumer thread needs about {0} registers, but has {1}; lower tile_n{2}", need, have,
                         tileM == 192 ? ", or take tile_m = 128" : "");
  return "";
}

// Measured on an H200 under its power limit; see docs/performance.md.
ScheduleAttr fresnel::getHopperDefault(AttendOp op) {
  // What persistence hides, the start and the end of a tile, counts where tiles
  // are short; long ones run a little faster from a plain grid.
  int64_t keys = cast<RankedTensorType>(op.getK().getType()).getDimSize(2);
  int64_t queries = cast<RankedTensorType>(op.getQ().getType()).getDimSize(2);
  bool persistent = op.getCausal() && keys <= kMaxPersistentKeys;
  auto make = [&](int64_t tileM, int64_t tileN) {
    return ScheduleAttr::get(op.getContext(), Family::Hopper, tileM, tileN, /*stages=*/2, persistent,
                             /*ping_pong=*/true, /*section=*/0);
  };
  switch (getHeadDim(op)) {
  case 64:
    return make(192, 128);
  case 96:
    // An offset between queries and keys takes the registers that 192 would need.
    return make(128, keys == queries ? 192 : 160);
  case 128:
    // Wide blocks correct the accumulator less often; beside a diagonal short
    // sequences pay for them with hidden scores.
    return make(128, persistent ? 160 : 192);
  case 192:
    return make(128, getValueDim(op) <= 128 ? 128 : 112);
  default:
    return make(128, 80);
  }
}

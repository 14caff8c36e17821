//===- Schedule.cpp - Choosing and checking schedules
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/Schedule.h"
#include "fresnel/Schedule/Blocks.h"
#include "fresnel/Schedule/Hopper.h"
#include "fresnel/Schedule/HopperGrad.h"
#include "fresnel/Schedule/HopperLists.h"
#include "fresnel/Schedule/HopperScores.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace fresnel;

//===----------------------------------------------------------------------===//
// What the families serve
//===----------------------------------------------------------------------===//

/// Kernels number tokens with 31 bits.
static std::string explainTokens(StringRef what, double tokens) {
  if (tokens > INT32_MAX)
    return llvm::formatv("{0} reach token {1:f0}, but kernels number tokens with 31 bits; check the strides", what,
                         tokens);
  return "";
}

/// Of attention: keys stand for the tokens of a window.
static std::string explainPositions(Operation *op) {
  auto get = [op](StringRef name) {
    auto attribute = op->getAttrOfType<IntegerAttr>(name);
    return attribute ? double(attribute.getInt()) : 1.0;
  };
  // A tile may go beyond the last row.
  auto count = [op](unsigned operand) {
    return double(cast<RankedTensorType>(op->getOperand(operand).getType()).getDimSize(2)) + 256;
  };
  std::string reason = explainTokens("queries", count(0));
  return reason.empty() ? explainTokens("keys", count(1) * get("key_stride") + get("key_window")) : reason;
}

/// Blocks of which the first keys are hidden, if an attention operation has them.
static std::string explainStarts(Operation *op) {
  constexpr int64_t tile = 128;
  if (!getBlockStarts(op))
    return "";
  auto getBlock = [op](StringRef name) {
    auto attribute = op->getAttrOfType<IntegerAttr>(name);
    return attribute ? attribute.getInt() : 1;
  };
  int64_t queryBlock = getBlock("query_block"), keyBlock = getBlock("key_block");
  auto causal = op->getAttrOfType<BoolAttr>("causal");
  // A tile of queries sees one block, of which the first step alone needs a mask. One of keys has its own anyhow.
  int64_t entries = isa<AttendGradKvOp>(op) ? 1 : cast<RankedTensorType>(getBlockList(op).getType()).getDimSize(3);
  if (queryBlock % tile || keyBlock % tile || entries > 1)
    return llvm::formatv("`starts` go with lists of one entry, and `query_block` and `key_block` of a multiple of {0}, "
                         "but there are {1} entries and blocks of {2} and {3}",
                         tile, entries, queryBlock, keyBlock);
  return causal && causal.getValue() ? "`starts` hide what is in front of them, and leave no room for a causal mask"
                                     : "";
}

template <typename Op>
static std::string explainAttend(Op op) {
  if constexpr (std::is_same_v<Op, AttendGradKvOp>)
    if (op.getBlocks() && !op.getTransposed())
      return "the gradient of keys and values reads the transposed block list; run fresnel-transpose-blocks";
  auto q = cast<RankedTensorType>(op.getQ().getType());
  auto v = cast<RankedTensorType>(op.getV().getType());
  if (!q.getElementType().isBF16() && !q.getElementType().isF16())
    return "the matrix units take bf16 and f16, but the tensors hold f32; convert them";
  for (int64_t dim : {q.getDimSize(3), v.getDimSize(3)})
    if (!llvm::is_contained({32, 64, 96, 128, 192, 256}, dim))
      return llvm::formatv("head dim {0} is not one of 32, 64, 96, 128, 192, 256; pad the head dim", dim);
  if (std::string reason = explainStarts(op); !reason.empty())
    return reason;
  return explainPositions(op);
}

/// The grid's y and z dimensions count heads and batches.
static std::string explainGrid(Operation *op) {
  for (Type type : op->getOperandTypes())
    if (auto tensor = cast<RankedTensorType>(type); tensor.getDimSize(0) > 65535 || tensor.getDimSize(1) > 65535)
      return llvm::formatv("a launch takes at most 65535 batches and heads, but got {0} and {1}; split the batch",
                           tensor.getDimSize(0), tensor.getDimSize(1));
  return "";
}

/// Kernels have 31 bits for blocks, windows and strides. Of numbers of blocks they take no more than there are.
static std::string explainNumbers(Operation *op) {
  for (NamedAttribute attribute : op->getAttrDictionary()) {
    auto number = dyn_cast<IntegerAttr>(attribute.getValue());
    StringRef name = attribute.getName();
    bool isClipped = name == "topk" || isa<NarrowBoundsOp>(op) ||
                     (isa<SelectBlocksOp>(op) && name != "key_block" && name != "query_block");
    if (number && !isClipped && number.getType().isInteger(64) && number.getInt() > INT32_MAX)
      return llvm::formatv("`{0}` is {1}, but kernels have 31 bits for it; lower it to what the tensors need", name,
                           number.getInt());
  }
  return "";
}

/// The memory kernels move 16 bytes at a time.
static std::string explainRows(Value rows) {
  auto type = cast<RankedTensorType>(rows.getType());
  if (type.getRank() == 4 && type.getDimSize(3) * type.getElementTypeBitWidth() % 128)
    return llvm::formatv("rows of {0} {1} are not a multiple of 16 bytes; pad the head dim", type.getDimSize(3),
                         type.getElementType());
  return "";
}

static std::string explainAdd(AddOp op) {
  if (cast<RankedTensorType>(op.getResult().getType()).getRank() != 4)
    return "the sum of scores has no GPU schedule yet";
  return explainRows(op.getResult());
}

static std::string explainPyramidGrad(PyramidGradOp op) {
  if (op.getKind() != PoolKind::Mean)
    return "the gradient of a maximum over windows has no GPU schedule yet";
  if (cast<RankedTensorType>(op.getDy().getType()).getRank() != 4)
    return "the gradient of pooled scores has no GPU schedule yet";
  return explainRows(op.getDy());
}

static std::string explainPoolGrad(PoolGradOp op) {
  if (op.getKind() != PoolKind::Mean)
    return "the gradient of a maximum over windows has no GPU schedule yet";
  return explainRows(op.getDy());
}

/// Rows that are no multiple of 16 bytes have a thread for each element.
static std::string explainMove(MoveOp op) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  constexpr int64_t maxThreads = 1024;
  if (type.getRank() != 4)
    return "";
  int64_t width = 128 / type.getElementTypeBitWidth(), threads = type.getDimSize(3);
  if (threads % width == 0)
    threads /= width;
  if (threads > maxThreads)
    return llvm::formatv("rows of {0} {1} take {2} threads, but a thread block has {3}; make them shorter{4}",
                         type.getDimSize(3), type.getElementType(), threads, maxThreads,
                         threads == type.getDimSize(3) ? ", or a multiple of 16 bytes" : "");
  return "";
}

template <typename Op>
static std::string explainScores(Op op) {
  auto q = cast<RankedTensorType>(op.getQ().getType()), k = cast<RankedTensorType>(op.getK().getType());
  std::string reason = explainRows(op.getQ());
  if (reason.empty() && op.getCausal()) {
    reason = explainTokens("queries", (double(q.getDimSize(2)) + 64) * double(op.getQueryStride()));
    if (reason.empty())
      reason =
          explainTokens("keys", (double(k.getDimSize(2)) + 64) * double(op.getKeyStride()) + double(op.getKeyWindow()));
  }
  return reason;
}

static std::string explainSelectBlocks(SelectBlocksOp op) {
  auto scores = cast<RankedTensorType>(op.getScores().getType());
  // A thread block holds two bits a block.
  constexpr int64_t maxBlocks = 1 << 18;
  if (int64_t blocks = scores.getDimSize(3); blocks > maxBlocks)
    return llvm::formatv("selection takes at most {0} blocks, but got {1}; make `key_block` larger", maxBlocks, blocks);
  return op.getCausal() ? explainTokens("rows", double(scores.getDimSize(2)) * double(op.getQueryBlock())) : "";
}

/// The same where keys are windows of tokens and queries are tokens.
static std::string explainRegroupScored(RegroupScoredOp op) {
  auto q = cast<RankedTensorType>(op.getQ().getType()), k = cast<RankedTensorType>(op.getK().getType());
  std::string reason = explainTokens("queries", double(q.getDimSize(2)) + 64);
  if (reason.empty())
    reason = explainTokens("keys", (double(k.getDimSize(2)) + 64) * double(op.getStride()) + double(op.getWindow()));
  return reason;
}

/// Rows at the places of each row, which the kernels hold side by side.
static std::string explainPlaces(Value part, Value slots) {
  constexpr int64_t maxPlaces = 32;
  if (int64_t places = cast<RankedTensorType>(slots.getType()).getDimSize(3); places > maxPlaces)
    return llvm::formatv("rows are put together from at most {0} places, but `slots` has {1}", maxPlaces, places);
  return explainRows(part);
}

std::string fresnel::explainUnsupported(Operation *op) {
  std::string reason =
      TypeSwitch<Operation *, std::string>(op)
          .Case<AttendOp, AttendGradQOp, AttendGradKvOp, AttendGradOp, SettleTilesOp>(
              [](auto op) { return explainAttend(op); })
          .Case([](RoundTilesOp op) { return explainRows(op.getRows()); })
          .Case([](GatherGradTilesOp op) { return explainRows(op.getDx()); })
          .Case<PyramidOp, NormOp, GatherOp, ScatterOp, AttendDeltaOp, AttendStatsOp, BoundKeysOp, GatherGradOp,
                ScatterGradOp, PoolLevelsOp, GatherLevelsOp, ScatterBySlotsOp, GatherGradBySlotsOp,
                ScatterGradBySlotsOp, PoolOp, UnpoolOp, UnpoolGradOp, GateOp, GateGradOp, MergeOp, MergeGradOp, FoldOp,
                UnfoldOp>([](auto op) { return explainRows(op->getOperand(0)); })
          .Case([](GateDeltaOp op) { return explainRows(op.getDy()); })
          .Case([](AddOp op) { return explainAdd(op); })
          .Case([](PyramidGradOp op) { return explainPyramidGrad(op); })
          .Case([](PoolGradOp op) { return explainPoolGrad(op); })
          .Case<BlockScoreOp, SelectScoredOp>([](auto op) { return explainScores(op); })
          .Case([](SelectBlocksOp op) { return explainSelectBlocks(op); })
          .Case([](RegroupScoredOp op) { return explainRegroupScored(op); })
          .Case([](MoveOp op) { return explainMove(op); })
          .Case<MergeRowsOp, SumRowsOp>([](auto op) { return explainPlaces(op.getPart(), op.getSlots()); })
          .Case<SelectCascadeOp, RegroupOp, TransposeBlocksOp, CountRowsOp, SplitBlocksOp, BlockBoundsOp, GroupRowsOp,
                GatherScoresOp, DocumentBoundsOp, AlignDocumentsOp, NarrowBoundsOp, BlocksFromMaskOp>(
              [](auto) { return std::string(); })
          .Default([](Operation *) { return std::string("has no GPU schedule yet"); });
  if (reason.empty())
    reason = explainNumbers(op);
  return reason.empty() ? explainGrid(op) : reason;
}

//===----------------------------------------------------------------------===//
// Defaults and checks
//===----------------------------------------------------------------------===//

bool fresnel::isAttention(Operation *op) { return isa<AttendOp, AttendGradQOp, AttendGradKvOp, AttendGradOp>(op); }

bool fresnel::isAttentionGradient(Operation *op) { return isAttention(op) && !isa<AttendOp>(op); }

/// Whether an operation multiplies queries and keys, perhaps of a few tiles only.
static bool usesMatrixUnits(Operation *op) { return isAttention(op) || isa<SettleTilesOp>(op); }

Value fresnel::getBlockList(Operation *op) {
  return TypeSwitch<Operation *, Value>(op)
      .Case<AttendOp, AttendGradQOp, AttendGradKvOp, AttendGradOp>([](auto op) { return op.getBlocks(); })
      .Default([](Operation *) { return Value(); });
}

Value fresnel::getDocumentBounds(Operation *op) {
  return TypeSwitch<Operation *, Value>(op)
      .Case<AttendOp, AttendGradQOp, AttendGradKvOp, AttendGradOp>([](auto op) { return op.getDocuments(); })
      .Default([](Operation *) { return Value(); });
}

bool fresnel::areInOrder(Value bounds) {
  if (auto cut = bounds.getDefiningOp<BlockBoundsOp>())
    return bounds == cut.getOwn() && areInOrder(cut.getBounds());
  auto align = bounds.getDefiningOp<AlignDocumentsOp>();
  return align ? bounds != align.getTokens() : bool(bounds.getDefiningOp<DocumentBoundsOp>());
}

Value fresnel::getBlockStarts(Operation *op) {
  return TypeSwitch<Operation *, Value>(op)
      .Case<AttendOp, AttendGradQOp, AttendGradKvOp>([](auto op) { return op.getStarts(); })
      .Default([](Operation *) { return Value(); });
}

/// Head dim and value dim of an attention operation, whose first operands are q, k and v.
static std::pair<int64_t, int64_t> getHeadDims(Operation *op) {
  return {cast<RankedTensorType>(op->getOperand(0).getType()).getDimSize(3),
          cast<RankedTensorType>(op->getOperand(2).getType()).getDimSize(3)};
}

int64_t fresnel::getPortableSharedBytes(ScheduleAttr schedule, Operation *op) {
  auto [headDim, valueDim] = getHeadDims(op);
  // Rows are padded by 16 bytes; see the `padded` layout of the tile dialect.
  int64_t keyRow = 2 * (headDim + 8), valueRow = 2 * (valueDim + 8);
  int64_t ownedRow = isa<AttendOp>(op) ? keyRow : keyRow + valueRow;
  int64_t lists = getBlockList(op) ? getBlockTiles(schedule, op).set.getBytes() : 0;
  return schedule.getTileM() * ownedRow + schedule.getStages() * schedule.getTileN() * (keyRow + valueRow) + lists;
}

int64_t fresnel::getPortableGradParts(int64_t headDim, int64_t valueDim) { return headDim + valueDim > 256 ? 2 : 1; }

/// A schedule of a family that has no fields beyond the tiles.
static ScheduleAttr makeSchedule(MLIRContext *context, Family family, int64_t tileN, int64_t stages) {
  return ScheduleAttr::get(context, family, /*tile_m=*/64, tileN, stages, /*persistent=*/false, /*ping_pong=*/true,
                           /*section=*/0);
}

ScheduleAttr fresnel::getDefaultSchedule(Operation *op, const TargetInfo &target) {
  MLIRContext *context = op->getContext();
  if (auto scores = dyn_cast<RegroupScoredOp>(op))
    return getHopperScoresDefault(scores, target);
  if (!usesMatrixUnits(op))
    return makeSchedule(context, Family::Simt, 64, 1);
  if (auto attend = dyn_cast<AttendOp>(op); attend && explainHopper(attend, target).empty())
    return getHopperDefault(attend);
  if (auto gradient = dyn_cast<AttendGradOp>(op))
    return getHopperGradDefault(gradient);
  if (isAttentionGradient(op) && getBlockList(op) && explainHopperLists(op, target).empty())
    return getHopperListsDefault(op);
  auto [headDim, valueDim] = getHeadDims(op);
  // Wide heads leave fewer registers for scores, hence the narrower block; gradients hold two of them.
  int64_t widest = std::max(headDim, valueDim);
  int64_t tileN = widest >= 192 || (!isa<AttendOp>(op) && widest > 64) ? 32 : 64;
  // Most tiles are only read and written then, for which two blocks of a multiprocessor are twice as fast.
  int64_t most = isa<SettleTilesOp>(op) ? target.maxSharedBytes / 2 : target.maxSharedBytes;
  for (int64_t stages : {2, 1}) {
    ScheduleAttr schedule = makeSchedule(context, Family::Portable, tileN, stages);
    if (getPortableSharedBytes(schedule, op) <= most)
      return schedule;
  }
  return makeSchedule(context, Family::Portable, tileN / 2, 1);
}

static std::string verifyPortable(ScheduleAttr schedule, Operation *op, const TargetInfo &target) {
  if (!target.hasCpAsync)
    return llvm::formatv("family portable needs cp.async, which {0} does not have", target.name);
  int64_t tileM = schedule.getTileM(), tileN = schedule.getTileN(), stages = schedule.getStages();
  if (tileM % 16 || tileM < 16 || tileM > 256)
    return llvm::formatv("tile_m must be a multiple of 16 in [16, 256], but is {0}", tileM);
  if (tileN % 16 || tileN < 16 || tileN > 256)
    return llvm::formatv("tile_n must be a multiple of 16 in [16, 256], but is {0}", tileN);
  if (stages < 1 || stages > 8)
    return llvm::formatv("stages must be in [1, 8], but is {0}", stages);
  int64_t bytes = getPortableSharedBytes(schedule, op);
  if (bytes > target.maxSharedBytes)
    return llvm::formatv("the tiles need {0} bytes of shared memory, but {1} has {2}; lower tile_n or stages", bytes,
                         target.name, target.maxSharedBytes);
  return "";
}

std::string fresnel::verifySchedule(ScheduleAttr schedule, Operation *op, const TargetInfo &target) {
  if (schedule.getPersistent() && schedule.getFamily() != Family::Hopper)
    return "only family hopper has persistent kernels";
  if (schedule.getCluster() != 1 && (schedule.getFamily() != Family::Hopper || !isa<AttendOp, AttendGradOp>(op)))
    return "only attention of family hopper and its gradients in one pass run in clusters; set cluster = 1";
  if (schedule.getEarly() && (schedule.getFamily() != Family::Hopper || !isa<AttendOp>(op)))
    return "only attention of family hopper computes weights early; set early = 0";
  if (schedule.getSharedWeights() && (schedule.getFamily() != Family::Hopper || !isa<AttendOp>(op)))
    return "only attention of family hopper may keep weights in shared memory; set shared_weights = false";
  if (!schedule.getOrdered() && !isa<AttendGradOp>(op))
    return "ordered = false is for gradients of the hopper family; everything else has one order";
  if (schedule.getIntegers() && !isa<AttendGradOp>(op))
    return "integers = true is for gradients of the hopper family in one pass";
  if (isa<AttendGradOp>(op) && schedule.getFamily() != Family::Hopper)
    return "only family hopper has all gradients of attention in one pass";
  if (isa<RegroupScoredOp>(op) && schedule.getFamily() != Family::Hopper)
    return "only family hopper has scores of blocks without those of windows; use block_score and regroup";
  if (getBlockStarts(op) && schedule.getFamily() != Family::Hopper)
    return "only family hopper serves the `starts` of blocks";
  switch (schedule.getFamily()) {
  case Family::Simt:
    return usesMatrixUnits(op) ? "family simt does not serve attention; use portable" : "";
  case Family::Portable:
    if (isa<SettleTilesOp>(op) && schedule.getTileM() != 64)
      return llvm::formatv("tile_m must be 64, as many rows as a tile has, but is {0}", schedule.getTileM());
    return usesMatrixUnits(op) ? verifyPortable(schedule, op, target)
                               : "family portable serves attention only; use simt";
  case Family::Hopper:
    if (auto attend = dyn_cast<AttendOp>(op))
      return verifyHopper(schedule, attend, target);
    if (auto gradient = dyn_cast<AttendGradOp>(op))
      return verifyHopperGrad(schedule, gradient, target);
    if (auto scores = dyn_cast<RegroupScoredOp>(op))
      return verifyHopperScores(schedule, scores, target);
    if (!isAttention(op))
      return "family hopper serves attention and scores of blocks only; use simt";
    if (getBlockList(op))
      return verifyHopperLists(schedule, op, target);
    if (std::string reason = explainHopperGrad(op, target); !reason.empty())
      return reason;
    return "family hopper has no separate gradients of attention; use portable";
  }
  return "unknown family";
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

llvm::json::Object fresnel::toJson(ScheduleAttr schedule) {
  llvm::json::Object object{{"family", stringifyFamily(schedule.getFamily())}};
  if (schedule.getFamily() != Family::Simt) {
    object["tile_m"] = schedule.getTileM();
    object["tile_n"] = schedule.getTileN();
    object["stages"] = schedule.getStages();
  }
  if (schedule.getFamily() == Family::Hopper) {
    object["persistent"] = schedule.getPersistent();
    object["ping_pong"] = schedule.getPingPong();
    object["section"] = schedule.getSection();
    // What gives other bits every time is said where it is asked for.
    if (!schedule.getOrdered())
      object["ordered"] = false;
    if (schedule.getIntegers())
      object["integers"] = true;
    if (schedule.getCluster() > 1)
      object["cluster"] = schedule.getCluster();
    if (schedule.getEarly())
      object["early"] = schedule.getEarly();
    if (schedule.getSharedWeights())
      object["shared_weights"] = true;
  }
  return object;
}

llvm::Expected<ScheduleAttr> fresnel::scheduleFromJson(const llvm::json::Object &object, MLIRContext *context) {
  int64_t tileM = 64, tileN = 64, stages = 2, section = 0, cluster = 1, early = 0;
  bool persistent = false, pingPong = true, ordered = true, integers = false, sharedWeights = false;
  llvm::StringMap<int64_t *> numbers{{"tile_m", &tileM},    {"tile_n", &tileN},    {"stages", &stages},
                                     {"section", &section}, {"cluster", &cluster}, {"early", &early}};
  llvm::StringMap<bool *> flags{{"persistent", &persistent},
                                {"ping_pong", &pingPong},
                                {"ordered", &ordered},
                                {"integers", &integers},
                                {"shared_weights", &sharedWeights}};
  std::optional<Family> family;
  for (const auto &[key, value] : object) {
    if (numbers.contains(key) && value.getAsInteger())
      *numbers[key] = *value.getAsInteger();
    else if (flags.contains(key) && value.getAsBoolean())
      *flags[key] = *value.getAsBoolean();
    else if (llvm::StringRef(key) == "family" && value.getAsString() && symbolizeFamily(*value.getAsString()))
      family = symbolizeFamily(*value.getAsString());
    else
      return llvm::createStringError(llvm::formatv(
          "schedule field '{0}' cannot be {1}; there are family (portable, hopper, simt), tile_m, tile_n, "
          "stages, section, cluster, early (integers), persistent, ping_pong, ordered, integers and "
          "shared_weights (true, false)",
          key, value));
  }
  if (!family)
    return llvm::createStringError("a schedule needs a family: portable, hopper or simt");
  return ScheduleAttr::get(context, *family, tileM, tileN, stages, persistent, pingPong, section, ordered, cluster,
                           integers, early, sharedWeights);
}

bool fresnel::excludesHopper(StringRef text) {
  SmallVector<StringRef> fields;
  text.split(fields, ':');
  return llvm::any_of(fields, [](StringRef field) { return field.consume_front("family=") && field != "hopper"; });
}

llvm::Expected<ScheduleAttr> fresnel::changeSchedule(ScheduleAttr schedule, llvm::StringRef text) {
  llvm::json::Object object = toJson(schedule);
  llvm::SmallVector<llvm::StringRef> fields;
  text.split(fields, ':', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  // The numbers of one family mean nothing to another.
  std::string family = ("family=" + stringifyFamily(schedule.getFamily())).str();
  if (llvm::any_of(fields, [&](llvm::StringRef field) { return field.starts_with("family=") && field != family; }))
    object.clear();
  llvm::StringMap<llvm::StringRef> given;
  for (llvm::StringRef field : fields) {
    auto [name, value] = field.split('=');
    if (auto [before, first] = given.try_emplace(name, value); !first && before->second != value)
      return llvm::createStringError("schedule field '" + name + "' gets two values, " + before->second + " and " +
                                     value + "; leave one out");
    // What is no number or flag is a word, such as a family's name.
    llvm::Expected<llvm::json::Value> parsed = llvm::json::parse(value);
    llvm::consumeError(parsed.takeError());
    object[name] = parsed ? *parsed : llvm::json::Value(value);
  }
  return scheduleFromJson(object, schedule.getContext());
}

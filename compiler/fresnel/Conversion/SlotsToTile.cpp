//===- SlotsToTile.cpp - Sums of rows that a slot map names ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// `scatter_by_slots`, `gather_grad_by_slots` and `gather_grad_tiles`: every output row
// has at most one contributor per level (and query head), which it looks up. A thread
// owns one 16-byte chunk of a unit of neighbouring rows that lie in one window of every
// level above: it reads all slots, then all rows that exist, each once for the unit, and
// sums from the coarsest level down, so that the sum of the levels above is shared.
//
// Of rows in tiles two columns lie side by side, and every fourth pair 16 bytes behind the
// one before: neighbouring threads own pairs that do so, and each thread several of them.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/PyramidDocuments.h"
#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

namespace {

/// Slots that a thread holds at once.
constexpr int64_t kMaxSlots = 32;
/// Blocks of 256 threads on a multiprocessor for which units of few slots have the registers. A thread waits for memory
/// twice, so that it takes 1280 threads or more to write at the rate of memory.
constexpr int64_t kBlocks = 6, kFewSlots = 8, kFewRows = 4;
/// Rows of a tile, and columns of one that lie side by side.
constexpr int64_t kTileRows = 64, kPair = 2;

/// Rows of a unit: the first that every window holds in whole or is made of.
int64_t chooseUnit(const PyramidShape &shape) {
  for (int64_t unit : {4, 5, 3, 7, 2})
    if (llvm::all_of(shape.windows, [&](int64_t window) { return window % unit == 0 || unit % window == 0; }))
      return unit;
  return 1;
}

class SlotKernel {
  using Values = SmallVector<Val>;
  using Slots = SmallVector<Values>;
  /// Pieces of rows, level by level.
  using LevelRows = SmallVector<SmallVector<Values>>;

public:
  /// Row j takes entry (j + shift) div F - shift of a level with windows of F tokens;
  /// `mean` divides what an entry gives by the tokens of its window.
  struct Windows {
    int64_t shift;
    bool mean;
  };

  /// With `tileScale` the rows lie in tiles and are multiplied by it.
  SlotKernel(Value rows, Value slotMap, RankedTensorType result, PyramidShape shape, Windows windows,
             const KernelRequest &request, KernelBuilder &b, std::optional<double> tileScale = std::nullopt)
      : b(b), request(request), shape(std::move(shape)), windows(windows), result(result), heads(result.getDimSize(1)),
        group(cast<RankedTensorType>(rows.getType()).getDimSize(1) / heads), rows(rows), slotMap(slotMap),
        tileScale(tileScale), unit(chooseUnit(this->shape)), one(result.getShape(), result.getElementType()),
        pieceWidth(tileScale ? kPair : one.width), documents(b, this->shape, [&](const DocumentShape &document) {
          return int64_t(llvm::divideCeil(document.sizes[0] + windows.shift, unit));
        }) {}

  void write() {
    locate();
    if (areRowsShared())
      return store(roundRows());
    Values sums = group * countEntries() <= kMaxSlots ? sumMembers() : sumMembersInTurn(), rounded;
    for (int64_t i = 0; i < unit; ++i)
      rounded.append(round(ArrayRef(sums).slice(i * one.width, one.width)));
    store(rounded);
  }

private:
  int64_t getLevels() const { return shape.windows.size(); }
  /// Entries of a level that one unit reads.
  int64_t getEntries(int64_t level) const { return std::max<int64_t>(1, unit / shape.windows[level]); }

  int64_t countEntries() const {
    int64_t entries = 0;
    for (int64_t level = 0; level < getLevels(); ++level)
      entries += getEntries(level);
    return entries;
  }
  /// Whether rows of a unit without tokens of their own are the same ones, written several times. Means are too, but
  /// reading their tokens' rows with the others is faster.
  bool areRowsShared() const { return group == 1 && getLevels() > 1 && !windows.mean; }

  /// Begins the kernel. A unit's threads are neighbours, and so are the units of neighbouring
  /// heads, whose rows [B, N, H, D] memory holds side by side.
  void locate() {
    int64_t all = documents.getItems() * heads, perBlock = one.rowsPerBlock();
    auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), one.threads(),
                                {int64_t(llvm::divideCeil(all, perBlock)), 1, one.batch});
    if (areRowsShared() && getEntries(1) == 1 && unit <= kFewRows && countEntries() <= kFewSlots)
      kernel->setAttr(tile::kMinBlocksAttr, b.getI32IntegerAttr(kBlocks));
    source = b.argument(kernel, 0);
    slots = b.argument(kernel, 1);
    target = b.argument(kernel, 2);
    batch = b.id(tile::Id::BlockZ);
    Val thread = b.id(tile::Id::Thread), local = thread / double(one.chunks);
    chunk = thread % double(one.chunks);
    Val item = b.id(tile::Id::BlockX) * double(perBlock) + local;
    // A thread too many does the last unit's work and stores nothing.
    if (all % perBlock || perBlock * one.chunks != one.threads()) {
      exists = (item < b.i32(all)) & (local < b.i32(perBlock));
      item = b.min(item, b.i32(all - 1));
    }
    head = item % double(heads);
    place = documents.locate(item / double(heads));
    number = place.item;
    firstRow = number * double(unit) - double(windows.shift);
  }

  /// What a thread owns of a row: pieces whose columns lie side by side.
  int64_t getPieces() const { return one.width / pieceWidth; }
  Val getColumn(int64_t piece) { return (chunk + double(piece * one.chunks)) * double(pieceWidth); }

  /// The pieces of a row.
  Values round(ArrayRef<Val> sums) {
    Values pieces;
    for (int64_t piece = 0; piece < getPieces(); ++piece) {
      Values values(sums.slice(piece * pieceWidth, pieceWidth));
      if (tileScale)
        for (Val &value : values)
          value = value * *tileScale;
      pieces.push_back(narrow(b, values, result.getElementType()));
    }
    return pieces;
  }

  /// Writes the unit's rounded rows, piece by piece. Only the first and the last units have rows that do not exist.
  void store(ArrayRef<Val> rounded) {
    auto storeRow = [&](int64_t i) {
      Val row = documents.getEntry(place, 0, firstRow + double(i));
      for (int64_t piece = 0; piece < getPieces(); ++piece)
        b.store(rounded[i * getPieces() + piece], target, {batch, head, row, getColumn(piece)});
    };
    auto storeAll = [&] {
      for (int64_t i = 0; i < unit; ++i)
        storeRow(i);
    };
    bool whole = windows.shift == 0 && documents.areMultiplesOf(unit);
    if (whole)
      return exists ? b.ifThen(exists, storeAll) : storeAll();
    Val length = documents.getSize(place, 0);
    Val complete = (firstRow >= 0.0) & (firstRow <= length - double(unit));
    if (exists)
      complete = complete & exists;
    b.ifElse(
        complete,
        [&] {
          storeAll();
          return Values();
        },
        [&] {
          for (int64_t i = 0; i < unit; ++i) {
            Val row = firstRow + double(i), inside = (row >= 0.0) & (row < length);
            b.ifThen(exists ? inside & exists : inside, [&] { storeRow(i); });
          }
          return Values();
        });
  }

  /// The place of the window that holds the unit, or of the unit's window `i`, from the first row of all units on.
  Val getWindow(int64_t level, int64_t i) {
    int64_t window = shape.windows[level];
    return window < unit ? number * double(unit / window) + double(i) : number / double(window / unit);
  }

  /// The slot of entry `i` of the unit's entries of a level, or -1.
  Val findSlot(Val from, int64_t level, int64_t i) {
    Val index = getWindow(level, i) - double(windows.shift);
    Val entry = windows.shift ? b.max(index, b.i32(0)) : index;
    // The rows of entries beyond the last do not exist.
    if (windows.shift || !documents.areMultiplesOf(unit))
      entry = b.min(entry, documents.getLast(place, level));
    Val slot = b.load(slots, {batch, getSharedHead(from, rows, slotMap), documents.getEntry(place, level, entry)});
    return windows.shift ? b.select(index >= 0.0, slot, b.i32(-1)) : slot;
  }

  /// What the row of an entry is multiplied by, null for 1.
  Val getShare(int64_t level, int64_t i) {
    if (!windows.mean || shape.windows[level] == 1)
      return Val();
    return documents.getShare(place, level, getWindow(level, i));
  }

  /// The slots of a unit in the map of query head `from`, level by level.
  Slots findSlots(Val from) {
    Slots found(getLevels());
    for (int64_t level = getLevels() - 1; level >= 0; --level)
      for (int64_t i = 0; i < getEntries(level); ++i)
        found[level].push_back(findSlot(from, level, i));
    return found;
  }

  Val loadPiece(Val from, Val slot, int64_t piece) {
    if (!tileScale)
      return b.load(source, {batch, from, slot, getColumn(piece)}, pieceWidth);
    // Place 4 (128 j + t) + 2 r + i is row 16 (t / 32) + t % 32 / 4 + 8 r, column 8 j + 2 (t % 4) + i.
    Val pair = chunk + double(piece * one.chunks);
    Val columnPlace = (pair >> 2.0) * 512.0 + (pair & 3.0) * 4.0;
    Val rowPlace = (slot & 48.0) * 8.0 + (slot & 7.0) * 16.0 + ((slot >> 3.0) & 1.0) * 2.0;
    return b.load(source, {batch, from, slot >> double(llvm::Log2_64(kTileRows)), columnPlace + rowPlace}, kPair);
  }

  /// The pieces of the row in a slot, zeros where there is none.
  Values loadRow(Val from, Val slot) {
    Type element = tileScale ? b.getF32Type() : result.getElementType();
    auto load = [&] {
      Values pieces;
      for (int64_t piece = 0; piece < getPieces(); ++piece)
        pieces.push_back(loadPiece(from, slot, piece));
      return pieces;
    };
    return b.ifElse(slot >= 0.0, load,
                    [&] { return Values(getPieces(), b.constant(VectorType::get(pieceWidth, element), 0)); });
  }

  Values widenRow(ArrayRef<Val> pieces) {
    Values values;
    for (Val piece : pieces)
      values.append(widen(b, piece, pieceWidth));
    return values;
  }

  /// The rows of a unit in query head `from`, from the coarsest level down to level `lowest`.
  LevelRows loadLevels(Val from, ArrayRef<Values> found, int64_t lowest) {
    LevelRows loaded(getLevels());
    for (int64_t level = getLevels() - 1; level >= lowest; --level)
      for (Val slot : found[level])
        loaded[level].push_back(loadRow(from, slot));
    return loaded;
  }

  /// Their sums over the levels, one for each of the unit's entries of level `lowest`.
  Values sum(const LevelRows &loaded, int64_t lowest) {
    Values sums;
    for (int64_t i = 0; i < getEntries(getLevels() - 1); ++i)
      addLevels(getLevels() - 1, i, lowest, Values(one.width, b.f32(0)), loaded, sums);
    return sums;
  }

  Val getLargest(ArrayRef<Val> values) {
    Val largest = values[0];
    for (Val value : values.drop_front())
      largest = b.max(largest, value);
    return largest;
  }

  /// The rounded rows of a unit whose query heads are its own. Few tokens were selected; where none of a unit's was,
  /// its rows are those of the levels above, rounded once for each of their entries.
  Values roundRows() {
    Slots found = findSlots(head);
    Values above = sum(loadLevels(head, found, 1), 1);
    int64_t children = unit / getEntries(1);
    auto getAbove = [&](int64_t row) { return ArrayRef(above).slice(row / children * one.width, one.width); };
    return b.ifElse(
        getLargest(found[0]) >= 0.0,
        [&] {
          SmallVector<Values> tokens;
          Values rounded;
          for (Val slot : found[0])
            tokens.push_back(loadRow(head, slot));
          for (int64_t row = 0; row < unit; ++row) {
            Values sums(getAbove(row));
            addTo(sums, widenRow(tokens[row]));
            rounded.append(round(sums));
          }
          return rounded;
        },
        [&] {
          Values rounded;
          for (int64_t row = 0; row < unit; ++row)
            rounded.push_back(row % children ? rounded.back() : round(getAbove(row))[0]);
          return rounded;
        });
  }

  Val getMember(int64_t member) { return group == 1 ? head : head * double(group) + double(member); }

  /// The sums over all query heads, whose slots are read together.
  Values sumMembers() {
    if (group == 1)
      return sum(loadLevels(head, findSlots(head), 0), 0);
    Values members;
    for (int64_t member = 0; member < group; ++member)
      members.push_back(getMember(member));
    return addMembers(members, Values(unit * one.width, b.f32(0)));
  }

  /// The same for many query heads.
  Values sumMembersInTurn() {
    return b.forRange(
        b.i32(0), b.i32(group), b.i32(1), Values(unit * one.width, b.f32(0)),
        [&](Val member, ArrayRef<Val> state) { return addMembers({head * double(group) + member}, Values(state)); });
  }

  /// Adds the sums of some query heads. Instructions bound several of them, and few units have rows of tokens
  /// that were selected: those are read behind a branch, after the rows of the levels above.
  Values addMembers(ArrayRef<Val> members, Values sums) {
    SmallVector<Slots> found;
    for (Val from : members)
      found.push_back(findSlots(from));
    if (getLevels() > 1) {
      SmallVector<LevelRows> loaded;
      for (auto [from, slots] : llvm::zip(members, found))
        loaded.push_back(loadLevels(from, slots, 1));
      Values above = sum(loaded[0], 1);
      for (size_t member = 1; member < members.size(); ++member)
        addTo(above, sum(loaded[member], 1));
      int64_t children = unit / getEntries(1);
      for (int64_t row = 0; row < unit; ++row)
        addTo(MutableArrayRef(sums).slice(row * one.width, one.width),
              ArrayRef(above).slice(row / children * one.width, one.width));
    }
    for (auto [from, slots] : llvm::zip(members, found))
      sums = addTokens(from, slots[0], sums);
    return sums;
  }

  /// Adds the rows of the unit's tokens in query head `from`.
  Values addTokens(Val from, ArrayRef<Val> found, const Values &sums) {
    return b.ifElse(
        getLargest(found) >= 0.0,
        [&] {
          SmallVector<Values> rows;
          Values more = sums;
          for (Val slot : found)
            rows.push_back(loadRow(from, slot));
          for (int64_t row = 0; row < unit; ++row)
            addTo(MutableArrayRef(more).slice(row * one.width, one.width), widenRow(rows[row]));
          return more;
        },
        [&] { return sums; });
  }

  void addTo(MutableArrayRef<Val> sums, ArrayRef<Val> more) {
    for (auto [total, value] : llvm::zip(sums, more))
      total = total + value;
  }

  /// Appends the sums down to level `lowest` below entry `i` of a level, `above` those of the levels above it.
  void addLevels(int64_t level, int64_t i, int64_t lowest, Values above, const LevelRows &loaded, Values &sums) {
    Val share = getShare(level, i);
    for (auto [total, value] : llvm::zip(above, widenRow(loaded[level][i])))
      total = share ? b.fma(value, share, total) : total + value;
    if (level == lowest)
      return sums.append(above);
    int64_t children = getEntries(level - 1) / getEntries(level);
    for (int64_t child = 0; child < children; ++child)
      addLevels(level - 1, i * children + child, lowest, above, loaded, sums);
  }

  KernelBuilder &b;
  const KernelRequest &request;
  PyramidShape shape;
  Windows windows;
  RankedTensorType result;
  int64_t heads, group;
  Value rows, slotMap;
  std::optional<double> tileScale;
  int64_t unit;
  RowGrid one;
  int64_t pieceWidth;
  PyramidDocuments documents;
  PyramidDocuments::Place place;
  /// Rows and windows are counted from the first of the document on.
  Val source, slots, target, batch, head, chunk, number, firstRow, exists;
};

} // namespace

LogicalResult fresnel::lowerScatterBySlots(ScatterBySlotsOp op, const KernelRequest &request, KernelBuilder &b) {
  SlotKernel(op.getX(), op.getSlots(), cast<RankedTensorType>(op.getResult().getType()),
             PyramidShape(op.getSeqLen(), op.getLevels(), op.getFactor(), op.getDocuments()),
             {/*shift=*/1, /*mean=*/false}, request, b)
      .write();
  return success();
}

LogicalResult fresnel::lowerGatherGradBySlots(GatherGradBySlotsOp op, const KernelRequest &request, KernelBuilder &b) {
  SlotKernel(op.getDy(), op.getSlots(), cast<RankedTensorType>(op.getDx().getType()),
             PyramidShape(op.getSeqLen(), op.getLevels(), op.getFactor(), op.getDocuments()),
             {/*shift=*/0, /*mean=*/true}, request, b)
      .write();
  return success();
}

LogicalResult fresnel::lowerGatherGradTiles(GatherGradTilesOp op, const KernelRequest &request, KernelBuilder &b) {
  SlotKernel(op.getTiles(), op.getSlots(), cast<RankedTensorType>(op.getDx().getType()),
             PyramidShape(op.getSeqLen(), op.getLevels(), op.getFactor(), op.getDocuments()),
             {/*shift=*/0, /*mean=*/true}, request, b, op.getScale().convertToDouble())
      .write();
  return success();
}

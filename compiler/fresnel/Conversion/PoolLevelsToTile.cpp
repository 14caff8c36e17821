//===- PoolLevelsToTile.cpp - Pooled levels and norms in one pass ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A team of lanes owns the tokens of a coarsest window, or of a few, in one head;
// each lane owns 16-byte chunks of their rows. The team walks its tokens in units
// of factor^m <= 16 tokens, whose loads are all in flight together. Sums of the
// levels up to m come and go within a unit; those above are carried. Teams of
// neighbouring heads are neighbours: [B, N, H, D] memory holds their rows side by side.
//
// Norms: squares are summed in f64, where the sum of 16-bit values is exact for
// all practical inputs, so that the order does not matter and the bits are the
// oracle's. The unit's sums are reduced across the lanes in a transposing
// butterfly. The root is monotonic, so windows take the maximum of the squared norms.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/PyramidDocuments.h"
#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"
#include <limits>

using namespace mlir;
using namespace fresnel;

namespace {

constexpr int64_t kThreads = 128;
/// Tokens whose rows a lane holds in registers at most. Where tokens end within a window, or lanes have no chunk, norms
/// leave room for fewer.
constexpr int64_t kMaxUnit = 16, kMaxUnitWithEnd = 4;
/// Blocks on a multiprocessor that have the registers; `kNormBlocks` with rows of 128 16-bit elements. Left alone,
/// ptxas aims at others, and spills.
constexpr int64_t kNormBlocks = 6, kManyValuesBlocks = 4, kNormChunks = 16;

class PoolLevelsKernel {
public:
  PoolLevelsKernel(PoolLevelsOp op, const KernelRequest &request, KernelBuilder &b)
      : op(op), request(request), b(b), x(cast<RankedTensorType>(op.getX().getType())),
        shape(x.getDimSize(2), op.getLevels(), op.getFactor(), op.getDocuments()), levels(op.getLevels()),
        factor(op.getFactor()), width(getVectorWidth(x.getElementType())), chunks(x.getDimSize(3) / width),
        lanes(std::min<int64_t>(32, llvm::PowerOf2Ceil(chunks))), parts(llvm::divideCeil(chunks, lanes)) {
    cutSpans(kMaxUnit);
    if (op.getNorms() && (isPartial() || !documents->areMultiplesOf(tokens)))
      cutSpans(kMaxUnitWithEnd);
    spans = documents->getItems();
    complete = documents->areMultiplesOf(tokens);
  }

  void write();

private:
  using Values = SmallVector<Val>;
  /// What levels above the unit's carry from unit to unit: sums, part by part, then the largest square.
  struct Carry {
    SmallVector<Values> sums;
    Values squares;
  };

  void cutSpans(int64_t maxUnit);
  void walk();
  void pool(Val first, Val number, Carry &carry);
  Values loadSquare(Val row, Val token, Val column, Val active, Val *square);
  void storeMean(int64_t level, Val index, const Values &sum, int64_t part);
  void finishNorms(Val first, Val number, Values squares, Carry &carry);
  Values reduceAcrossLanes(Val first, Values squares);
  void storeNorm(int64_t level, Val index, Val square, Val condition);
  Val isFlushed(int64_t level, Val number) { return (number + 1.0) % double(shape.windows[level] / unit) == 0.0; }
  int64_t getCarried() const { return levels - 1 - unitLevels; }
  /// Lane `part` of the parts that a lane owns: whether its chunk exists.
  bool isPartial() const { return chunks % lanes != 0; }
  Val both(Val a, Val c) { return a ? (c ? a & c : a) : c; }
  void storeIf(Val condition, function_ref<void()> store) { condition ? b.ifThen(condition, store) : store(); }

  PoolLevelsOp op;
  const KernelRequest &request;
  KernelBuilder &b;
  RankedTensorType x;
  PyramidShape shape;
  int64_t levels, factor, width, chunks, lanes, parts, unit = 1, unitLevels = 0, tokens = 1, spans = 1;
  bool complete = false;
  std::optional<PyramidDocuments> documents;
  PyramidDocuments::Place place;
  /// Tokens and windows are counted from the first of the document on.
  Val source, rows, norms, batch, head, lane, firstToken, exists;
};

/// Cuts the documents into spans of tokens, one for a team, and those into units.
void PoolLevelsKernel::cutSpans(int64_t maxUnit) {
  unit = 1;
  unitLevels = 0;
  while (unitLevels + 1 < levels && unit * factor <= maxUnit) {
    unit *= factor;
    ++unitLevels;
  }
  // Several coarsest windows together, where one is short.
  tokens = std::max(unit, shape.windows.back());
  while (unitLevels + 1 == levels && unit * factor <= maxUnit)
    tokens = unit *= factor;
  documents.emplace(
      b, shape, [&](const DocumentShape &document) { return int64_t(llvm::divideCeil(document.sizes[0], tokens)); });
}

void PoolLevelsKernel::write() {
  int64_t teams = x.getDimSize(0) * x.getDimSize(1) * spans, perBlock = kThreads / lanes;
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kThreads,
                              {int64_t(llvm::divideCeil(teams, perBlock)), 1, 1});
  // Conditions at an end, and the sums of levels above a unit's, take registers.
  int64_t blocks = 0;
  if (!complete || (op.getNorms() && getCarried()))
    blocks = kManyValuesBlocks;
  else if (op.getNorms() && chunks == kNormChunks)
    blocks = kNormBlocks;
  if (blocks)
    kernel->setAttr(tile::kMinBlocksAttr, b.getI32IntegerAttr(int32_t(blocks)));
  source = b.argument(kernel, 0);
  rows = b.argument(kernel, 1);
  if (op.getNorms())
    norms = b.argument(kernel, 2);
  Val thread = b.id(tile::Id::Thread);
  lane = thread % double(lanes);
  Val team = b.id(tile::Id::BlockX) * double(perBlock) + thread / double(lanes);
  // A team too many does the last one's work and stores nothing: its lanes take part in shuffles.
  if (teams % perBlock) {
    exists = team < b.i32(teams);
    team = b.min(team, b.i32(teams - 1));
  }
  head = team % double(x.getDimSize(1));
  Val span = team / double(x.getDimSize(1));
  batch = span / double(spans);
  place = documents->locate(span % double(spans));
  firstToken = place.item * double(tokens);
  walk();
}

void PoolLevelsKernel::walk() {
  Values init(getCarried() * (parts * width + 1), b.f32(0));
  auto unpack = [&](ArrayRef<Val> state) {
    Carry carry;
    for (int64_t i = 0; i < getCarried() * parts; ++i)
      carry.sums.push_back(Values(state.slice(i * width, width)));
    carry.squares = Values(state.take_back(getCarried()));
    return carry;
  };
  if (tokens == unit) {
    Carry none;
    pool(firstToken, b.i32(0), none);
    return;
  }
  b.forRange(b.i32(0), b.i32(tokens / unit), b.i32(1), init, [&](Val number, ArrayRef<Val> state) {
    Carry carry = unpack(state);
    pool(firstToken + number * double(unit), number, carry);
    Values next;
    for (const Values &sum : carry.sums)
      llvm::append_range(next, sum);
    llvm::append_range(next, carry.squares);
    return next;
  });
}

/// A token's chunk as f32, 0 where there is none; adds its squares to `square`, if given.
SmallVector<Val> PoolLevelsKernel::loadSquare(Val row, Val token, Val column, Val active, Val *square) {
  Values values = widen(b, row, width);
  Val valid = both(complete ? Val() : token < documents->getSize(place, 0), active);
  if (valid)
    for (Val &value : values)
      value = b.select(valid, value, b.f32(0));
  if (square)
    for (Val value : values) {
      Val wide = b.cast(value, b.getF64Type());
      *square = b.fma(wide, wide, *square);
    }
  return values;
}

/// Pools the unit of tokens from `first` on; `number` is its place among the team's units.
void PoolLevelsKernel::pool(Val first, Val number, Carry &carry) {
  Values squares(unit, b.constant(b.getF64Type(), 0));
  for (int64_t part = 0; part < parts; ++part) {
    Val chunk = lane + double(part * lanes);
    Val active = isPartial() ? chunk < b.i32(chunks) : Val();
    Val column = (active ? b.select(active, chunk, b.i32(0)) : chunk) * double(width);
    Values raw;
    for (int64_t t = 0; t < unit; ++t) {
      Val token = first + double(t);
      Val row = complete ? token : b.min(token, documents->getLast(place, 0));
      raw.push_back(b.load(source, {batch, head, documents->getEntry(place, 0, row), column}, width));
    }
    SmallVector<Values> sums;
    for (int64_t t = 0; t < unit; ++t)
      sums.push_back(loadSquare(raw[t], first + double(t), column, active, op.getNorms() ? &squares[t] : nullptr));
    auto addTo = [&](Values &sum, const Values &more) {
      for (auto [total, value] : llvm::zip(sum, more))
        total = total + value;
    };
    for (int64_t level = 1; level <= unitLevels; ++level) {
      SmallVector<Values> pooled;
      for (size_t i = 0; i < sums.size(); i += factor) {
        pooled.push_back(sums[i]);
        for (int64_t child = 1; child < factor; ++child)
          addTo(pooled.back(), sums[i + child]);
        Val index = first / double(shape.windows[level]) + double(i / factor);
        storeMean(level, index, pooled.back(), part);
      }
      sums = std::move(pooled);
    }
    for (int64_t above = 0; above < getCarried(); ++above) {
      int64_t level = unitLevels + 1 + above;
      Values &sum = carry.sums[above * parts + part];
      addTo(sum, sums[0]);
      Val flushed = isFlushed(level, number);
      b.ifThen(flushed, [&] { storeMean(level, first / double(shape.windows[level]), sum, part); });
      for (Val &value : sum)
        value = b.select(flushed, b.f32(0), value);
    }
  }
  if (op.getNorms())
    finishNorms(first, number, squares, carry);
}

void PoolLevelsKernel::storeMean(int64_t level, Val index, const Values &sum, int64_t part) {
  Val share = documents->getShare(place, level, index);
  Values means;
  for (Val value : sum)
    means.push_back(value * share);
  Val chunk = lane + double(part * lanes);
  Val condition = both(exists, complete ? Val() : index <= documents->getLast(place, level));
  condition = both(condition, isPartial() ? chunk < b.i32(chunks) : Val());
  storeIf(condition, [&] {
    Val row = documents->getEntry(place, level, index) - double(x.getDimSize(2));
    b.store(narrow(b, means, x.getElementType()), rows, {batch, head, row, chunk * double(width)});
  });
}

/// Sums over the team's lanes, rounded to f32 and known to all of them; the
/// lanes that hold a token's sum first store its norm.
SmallVector<Val> PoolLevelsKernel::reduceAcrossLanes(Val first, Values squares) {
  squares.resize(llvm::PowerOf2Ceil(unit), b.constant(b.getF64Type(), 0));
  int64_t mask = lanes / 2;
  for (; mask > 0 && squares.size() > 1; mask /= 2) {
    // Lanes with the bit go on with the upper half, the others with the lower one.
    Val upper = (lane & double(mask)) != 0.0;
    size_t half = squares.size() / 2;
    Values next;
    for (size_t i = 0; i < half; ++i) {
      Val keep = b.select(upper, squares[i + half], squares[i]), give = b.select(upper, squares[i], squares[i + half]);
      next.push_back(keep + shuffleXorWide(b, give, mask));
    }
    squares = std::move(next);
  }
  // `mask` is now half the number of lanes that share a token.
  int64_t sharing = std::max<int64_t>(1, mask * 2), held = squares.size();
  Values sums;
  for (Val square : squares) {
    for (int64_t m = mask; m > 0; m /= 2)
      square = square + shuffleXorWide(b, square, m);
    // A token with NaN is of infinite norm, so that it is selected and seen: a maximum would lose NaN.
    sums.push_back(b.min(b.cast(square, b.getF32Type()), b.f32(std::numeric_limits<float>::infinity())));
  }
  for (int64_t i = 0; i < held; ++i) {
    Val token = lane / double(sharing) * double(held) + double(i);
    storeNorm(0, first + token, sums[i], ((lane % double(sharing)) == 0.0) & (token < b.i32(unit)));
  }
  Values all;
  Val team = b.id(tile::Id::Lane) - lane;
  for (int64_t t = 0; t < unit; ++t)
    all.push_back(b.shuffle(tile::Shuffle::Index, sums[t % held], team + double(t / held * sharing)));
  return all;
}

void PoolLevelsKernel::finishNorms(Val first, Val number, Values squares, Carry &carry) {
  Values largest = reduceAcrossLanes(first, std::move(squares));
  for (int64_t level = 1; level <= unitLevels; ++level) {
    Values pooled;
    for (size_t i = 0; i < largest.size(); i += factor) {
      pooled.push_back(largest[i]);
      for (int64_t child = 1; child < factor; ++child)
        pooled.back() = b.max(pooled.back(), largest[i + child]);
    }
    // Lane i stores windows i, i + lanes, ...
    for (size_t begin = 0; begin < pooled.size(); begin += lanes) {
      size_t count = std::min<size_t>(lanes, pooled.size() - begin);
      Val own = pooled[begin];
      for (size_t i = 1; i < count; ++i)
        own = b.select(lane == double(i), pooled[begin + i], own);
      Val index = first / double(shape.windows[level]) + lane + double(begin);
      storeNorm(level, index, own, lane < double(count));
    }
    largest = std::move(pooled);
  }
  for (int64_t above = 0; above < getCarried(); ++above) {
    int64_t level = unitLevels + 1 + above;
    Val &square = carry.squares[above];
    square = b.max(square, largest[0]);
    Val flushed = isFlushed(level, number);
    storeNorm(level, first / double(shape.windows[level]), square, flushed & (lane == 0.0));
    square = b.select(flushed, b.f32(0), square);
  }
}

void PoolLevelsKernel::storeNorm(int64_t level, Val index, Val square, Val condition) {
  condition = both(condition, exists);
  if (!complete)
    condition = condition & (index < documents->getSize(place, level));
  Val entry = documents->getEntry(place, level, index);
  b.ifThen(condition, [&] { b.store(b.sqrt(square), norms, {batch, head, entry}); });
}

} // namespace

LogicalResult fresnel::lowerPoolLevels(PoolLevelsOp op, const KernelRequest &request, KernelBuilder &b) {
  PoolLevelsKernel(op, request, b).write();
  return success();
}

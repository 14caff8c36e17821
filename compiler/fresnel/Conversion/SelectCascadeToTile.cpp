//===- SelectCascadeToTile.cpp - Lighthouse's coarse-to-fine selection ----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One thread block per (chunk, head, batch). Per level: two radix selections
// mark the kept candidates in a bitmap, whose prefix sums compact it to an
// ascending list; the children of a list are the next candidates. Keys are held
// in shared memory where they fit.
//
// No sort: the output order is the post-order of the selection tree. The slot of
// an entry is the number of candidates, over all levels, that precede it: of the
// finer levels the descendants of the kept candidates up to it, of the coarser
// levels the candidates before its ancestor. Each is one look-up in the prefix
// sums, or in the list of kept candidates.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/PyramidDocuments.h"
#include "fresnel/Conversion/RadixSelect.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

namespace {

/// What every target's block can have.
constexpr int64_t kMaxSharedBytes = 99 * 1024;

class CascadeKernel {
public:
  CascadeKernel(SelectCascadeOp op, const KernelRequest &request, KernelBuilder &builder)
      : op(op), request(request), b(builder),
        shape(op.getSeqLen(), op.getLevels(), op.getFactor(), op.getTopk(), op.getDocuments()),
        documents(b, shape.pyramid, [](const DocumentShape &) { return 1; }), levels(op.getLevels()),
        factor(op.getFactor()), maxKept(levels, 0), candidates(levels, 0) {
    for (const CascadeChunk &chunk : shape.chunks)
      for (int64_t level = 1; level < levels; ++level) {
        maxKept[level] = std::max(maxKept[level], chunk.kept[level]);
        candidates[level] = std::max(candidates[level], chunk.candidates[level]);
        maxCandidates = std::max(maxCandidates, candidates[level]);
      }
    threads = std::clamp<int64_t>(llvm::PowerOf2Ceil(maxCandidates / 2), 256, 1024);
    hasKeys = getSharedBytes() + 8 * maxCandidates <= kMaxSharedBytes;
  }

  int64_t getSharedBytes() const {
    int64_t words = RadixSelect::kWords + levels + getWords(maxCandidates);
    for (int64_t level = 1; level < levels; ++level)
      words += 2 * getWords(candidates[level]) + 2 * maxKept[level];
    return words * 4;
  }

  void write() {
    auto scores = cast<RankedTensorType>(op.getQueryScores().getType());
    auto keys = cast<RankedTensorType>(op.getKeyScores().getType());
    int64_t heads = cast<RankedTensorType>(op.getResult().getType()).getDimSize(1);
    auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), threads,
                                {int64_t(shape.chunks.size()), heads, scores.getDimSize(0)});
    queryScores = b.argument(kernel, 0);
    keyScores = b.argument(kernel, 1);
    output = b.argument(kernel, 2);
    if (op.getSlots())
      slotMap = b.argument(kernel, 3);
    batch = b.id(tile::Id::BlockZ);
    head = b.id(tile::Id::BlockY);
    keyHead = head / double(heads / keys.getDimSize(1));
    group = scores.getDimSize(1) / heads;
    thread = b.id(tile::Id::Thread);
    locateChunk();
    allocate();
    if (slotMap)
      clearSlots();
    for (int64_t level = levels - 1; level > 0; --level) {
      counts[level] = getCount(level);
      selectLevel(level);
    }
    counts[0] = getCount(0);
    for (int64_t level = 0; level < levels; ++level)
      emitLevel(level);
    pad();
  }

private:
  /// floor(t * total / chunks)
  Val share(Val t, int64_t total) {
    Type wide = b.getI64Type();
    return b.cast(b.cast(t, wide) * double(total) / double(shape.chunks.size()), b.getI32Type());
  }
  Val getBudget(Val t) { return share(t + 1.0, op.getTopk()) - share(t, op.getTopk()); }

  /// Slots of chunk t as if every window were full.
  Val getSlots(Val t) {
    Val candidates = share(t + 1.0, shape.pyramid.sizes.back()) - share(t, shape.pyramid.sizes.back());
    Val budget = getBudget(t), slots = b.i32(0);
    for (int64_t level = levels - 1; level >= 0; --level) {
      slots = slots + candidates;
      candidates = b.min(budget, candidates) * double(factor);
    }
    return slots;
  }

  void locateChunk() {
    Val chunk = b.id(tile::Id::BlockX);
    if (shape.pyramid.isPacked())
      return readChunk(chunk);
    first = share(chunk, shape.pyramid.sizes.back());
    coarsest = share(chunk + 1.0, shape.pyramid.sizes.back()) - first;
    budget = getBudget(chunk);
    slots = getSlots(chunk);
    firstSlot = b.forRange(b.i32(0), chunk, b.i32(1), {b.i32(0)},
                           [&](Val t, ArrayRef<Val> state) { return SmallVector<Val>{state[0] + getSlots(t)}; })[0];
  }

  /// The chunk of a document, from a table of all.
  void readChunk(Val number) {
    SmallVector<int32_t> values;
    for (const CascadeChunk &chunk : shape.chunks)
      for (int64_t value : {chunk.document, chunk.first, chunk.end - chunk.first, chunk.queryBudget + chunk.keyBudget,
                            chunk.slot, chunk.slots})
        values.push_back(int32_t(value));
    Val table = b.table(values, values.size() / shape.chunks.size());
    auto load = [&](int64_t column) { return b.load(table, {number, b.i32(column)}); };
    document = documents.getDocument(load(0));
    first = load(1);
    coarsest = load(2);
    budget = load(3);
    firstSlot = load(4);
    slots = load(5);
  }

  /// Words of a bitmap with a bit for each candidate, and one more for the bound.
  static int64_t getWords(int64_t candidates) { return candidates / 32 + 1; }

  void allocate() {
    Type i32 = b.getI32Type();
    counts.resize(levels);
    keptCounts = b.alloc({levels}, i32);
    equals = b.alloc({getWords(maxCandidates)}, i32);
    for (int64_t kind = 0; kind < 2 && hasKeys; ++kind)
      keys.push_back(b.alloc({std::max<int64_t>(1, maxCandidates)}, i32));
    tables.resize(levels);
    for (int64_t level = 1; level < levels; ++level) {
      auto reserve = [&](int64_t words) { return b.alloc({std::max<int64_t>(1, words)}, i32); };
      tables[level] = {reserve(getWords(candidates[level])), reserve(getWords(candidates[level])),
                       reserve(maxKept[level]), reserve(maxKept[level])};
    }
  }

  /// The chunk's entries of the slot map hold nothing until they are found.
  void clearSlots() {
    for (int64_t level = 0; level < levels; ++level) {
      double width = double(shape.pyramid.windows[levels - 1 - level]);
      Val size = documents.getSize(document, level);
      b.forRange(
          b.min(first * width, size) + thread, b.min((first + coarsest) * width, size), b.i32(threads),
          [&](Val index) { b.store(b.i32(-1), slotMap, {batch, head, documents.getEntry(document, level, index)}); });
    }
    b.barrier();
  }

  /// Number of candidates of a level; the levels above are done.
  Val getCount(int64_t level) {
    if (level == levels - 1)
      return coarsest;
    Val parents = b.load(keptCounts, {b.i32(level + 1)});
    Val last = b.load(tables[level + 1].windows, {parents - 1.0});
    // Only the last window of a document can miss children, and it comes last.
    Val missing = b.max((last + 1.0) * double(factor) - documents.getSize(document, level), b.i32(0));
    return parents * double(factor) - missing;
  }

  /// Window index of candidate j of a level.
  Val getCandidate(int64_t level, Val j) {
    if (level == levels - 1)
      return first + j;
    return b.load(tables[level + 1].windows, {j / double(factor)}) * double(factor) + j % double(factor);
  }

  /// A candidate's ordered key from global memory.
  Val readKey(int64_t level, Val j, bool byQuery) {
    Val index = getCandidate(level, j);
    Val entry = documents.getEntry(document, level, index);
    if (!byQuery)
      return RadixSelect::orderedKey(b, b.load(keyScores, {batch, keyHead, entry}));
    Val score = b.load(queryScores, {batch, head * double(group), entry});
    if (group > 1)
      score = b.forRange(b.i32(1), b.i32(group), b.i32(1), {score}, [&](Val member, ArrayRef<Val> state) {
        return SmallVector<Val>{b.max(state[0], b.load(queryScores, {batch, head * double(group) + member, entry}))};
      })[0];
    Val key = RadixSelect::orderedKey(b, score);
    return op.getOpenFirstWindow() ? b.select(index == 0.0, b.i32(INT32_MAX), key) : key;
  }

  void selectLevel(int64_t level) {
    Val count = counts[level], bitmap = tables[level].kept;
    b.forRange(thread, (count >> b.i32(5)) + 1.0, b.i32(threads), [&](Val word) { b.store(b.i32(0), bitmap, {word}); });
    if (hasKeys)
      b.forRange(thread, count, b.i32(threads), [&](Val j) {
        b.store(readKey(level, j, /*byQuery=*/true), keys[0], {j});
        b.store(readKey(level, j, /*byQuery=*/false), keys[1], {j});
      });
    b.barrier();
    RadixSelect select(b, thread, threads, equals);
    auto load = [&](bool byQuery) {
      return [this, level, byQuery](Val j) {
        return hasKeys ? b.load(keys[byQuery ? 0 : 1], {j}) : readKey(level, j, byQuery);
      };
    };
    Val queryBudget = b.min((budget + 1.0) >> b.i32(1), count);
    Val keyBudget = b.min(budget >> b.i32(1), count - queryBudget);
    select.mark(bitmap, count, queryBudget, load(/*byQuery=*/true));
    select.mark(bitmap, count, keyBudget, load(/*byQuery=*/false));
    compact(level, count);
  }

  /// The marked candidates as ascending lists: warp 0 sums the bits before each
  /// word, then all warps write.
  void compact(int64_t level, Val count) {
    const Table &table = tables[level];
    Val lane = b.id(tile::Id::Lane), words = (count >> b.i32(5)) + 1.0;
    b.ifThen(b.id(tile::Id::Warp) == 0.0, [&] {
      Val total = b.forRange(b.i32(0), words, b.i32(32), {b.i32(0)}, [&](Val base, ArrayRef<Val> state) {
        Val word = b.min(base + lane, words - 1.0), exists = base + lane < words;
        WarpScan scan(b, b.select(exists, b.popcount(b.load(table.kept, {word})), b.i32(0)));
        b.ifThen(exists, [&] { b.store(state[0] + scan.before, table.before, {word}); });
        return SmallVector<Val>{state[0] + scan.total};
      })[0];
      b.ifThen(lane == 0.0, [&] { b.store(total, keptCounts, {b.i32(level)}); });
    });
    b.barrier();
    b.forRange(b.id(tile::Id::Warp), words, b.i32(threads / 32), [&](Val word) {
      Val bits = b.load(table.kept, {word}), j = word * 32.0 + lane;
      b.ifThen(((bits >> lane) & 1.0) != 0.0, [&] {
        Val place = b.load(table.before, {word}) + b.popcount(bits & ((b.i32(1) << lane) - 1.0));
        b.store(j, table.numbers, {place});
        b.store(getCandidate(level, j), table.windows, {place});
      });
    });
    b.barrier();
  }

  /// How many of the first `bound` candidates of a level are kept.
  Val countKept(int64_t level, Val bound) {
    Val word = bound >> b.i32(5), below = (b.i32(1) << (bound & 31.0)) - 1.0;
    return b.load(tables[level].before, {word}) + b.popcount(b.load(tables[level].kept, {word}) & below);
  }

  void emitLevel(int64_t level) {
    b.forRange(thread, counts[level], b.i32(threads), [&](Val j) {
      Val slot = j;
      // What is finer and belongs to this candidate or to one before it.
      Val bound = j + 1.0;
      for (int64_t finer = level - 1; finer >= 0; --finer) {
        bound = b.min(countKept(finer + 1, bound) * double(factor), counts[finer]);
        slot = slot + bound;
      }
      // What is coarser and comes before the candidate's ancestor.
      Val number = j;
      for (int64_t coarser = level + 1; coarser < levels; ++coarser) {
        number = b.load(tables[coarser].numbers, {number / double(factor)});
        slot = slot + number;
      }
      Val entry = documents.getEntry(document, level, getCandidate(level, j));
      b.store(entry, output, {batch, head, firstSlot + slot});
      if (slotMap)
        b.store(firstSlot + slot, slotMap, {batch, head, entry});
    });
  }

  /// -1 where tail windows missed children.
  void pad() {
    Val real = b.i32(0);
    for (int64_t level = 0; level < levels; ++level)
      real = real + counts[level];
    b.forRange(real + thread, slots, b.i32(threads),
               [&](Val slot) { b.store(b.i32(-1), output, {batch, head, firstSlot + slot}); });
  }

  SelectCascadeOp op;
  const KernelRequest &request;
  KernelBuilder &b;
  CascadeShape shape;
  PyramidDocuments documents;
  /// That of the chunk, whose windows are counted from its first on.
  PyramidDocuments::Place document;
  /// `group` counts the query heads that share a selection.
  int64_t levels, factor, maxCandidates = 0, threads = 0, group = 1;
  /// Per level, over all chunks.
  SmallVector<int64_t> maxKept, candidates;
  /// Whether the keys of a level's candidates are copied to shared memory.
  bool hasKeys = false;
  Val queryScores, keyScores, output, slotMap, batch, head, keyHead, thread;
  Val first, coarsest, budget, slots, firstSlot, keptCounts, equals;
  SmallVector<Val> counts, keys;
  /// A level's kept candidates: as a bitmap, the number of bits before each of
  /// its words, and ascending their candidate numbers and window indices.
  struct Table {
    Val kept, before, numbers, windows;
  };
  SmallVector<Table> tables;
};

} // namespace

LogicalResult fresnel::lowerSelectCascade(SelectCascadeOp op, const KernelRequest &request, KernelBuilder &b) {
  CascadeKernel kernel(op, request, b);
  if (int64_t bytes = kernel.getSharedBytes(); bytes > kMaxSharedBytes)
    return op.emitOpError() << "needs " << bytes << " bytes of shared memory for its candidates, but a block has "
                            << kMaxSharedBytes << "; raise `levels` or change `topk`";
  PyramidShape pyramid(op.getSeqLen(), op.getLevels(), op.getFactor());
  if (pyramid.windows.back() * pyramid.sizes.back() > INT32_MAX)
    return op.emitOpError() << "windows end beyond token 2147483647; lower `levels` or `factor`";
  kernel.write();
  return success();
}

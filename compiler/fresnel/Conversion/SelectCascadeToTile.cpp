//===- SelectCascadeToTile.cpp - Lighthouse's coarse-to-fine selection ----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One thread block per (chunk, head, batch). Per level: two radix selections
// mark the kept candidates in a bitmap, which is compacted to an ascending list;
// the children of a list are the next candidates, so candidates need no memory.
//
// No sort: the output order is the post-order of the selection tree, in which an
// entry precedes another if its window ends earlier, or ends with it and is
// finer. The slot of an entry is thus the number of candidates, over all levels,
// that precede it, and each count is one binary search in a kept list.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RadixSelect.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Dialect/CascadeShape.h"

using namespace mlir;
using namespace fresnel;

namespace {

constexpr int64_t kThreads = 256;
/// What every target's block can have.
constexpr int64_t kMaxSharedBytes = 99 * 1024;

class CascadeKernel {
public:
  CascadeKernel(SelectCascadeOp op, const KernelRequest &request, KernelBuilder &builder)
      : op(op), request(request), b(builder), shape(op.getSeqLen(), op.getLevels(), op.getFactor(), op.getTopk()),
        levels(op.getLevels()), factor(op.getFactor()), maxKept(levels, 0) {
    for (const CascadeChunk &chunk : shape.chunks) {
      for (int64_t level = 0; level < levels; ++level)
        maxKept[level] = std::max(maxKept[level], chunk.kept[level]);
      for (int64_t level = 1; level < levels; ++level)
        maxCandidates = std::max(maxCandidates, chunk.candidates[level]);
    }
  }

  int64_t getSharedBytes() const {
    int64_t words = RadixSelect::kWords + llvm::divideCeil(maxCandidates, 32) + levels;
    for (int64_t kept : maxKept)
      words += kept;
    return words * 4;
  }

  void write() {
    auto scores = cast<RankedTensorType>(op.getQueryScores().getType());
    auto keys = cast<RankedTensorType>(op.getKeyScores().getType());
    auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kThreads,
                                {int64_t(shape.chunks.size()), scores.getDimSize(1), scores.getDimSize(0)});
    queryScores = b.argument(kernel, 0);
    keyScores = b.argument(kernel, 1);
    output = b.argument(kernel, 2);
    batch = b.id(tile::Id::BlockZ);
    head = b.id(tile::Id::BlockY);
    keyHead = head / double(scores.getDimSize(1) / keys.getDimSize(1));
    thread = b.id(tile::Id::Thread);
    locateChunk();
    allocate();
    for (int64_t level = levels - 1; level > 0; --level)
      selectLevel(level);
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
    first = share(chunk, shape.pyramid.sizes.back());
    coarsest = share(chunk + 1.0, shape.pyramid.sizes.back()) - first;
    budget = getBudget(chunk);
    slots = getSlots(chunk);
    firstSlot = b.forRange(b.i32(0), chunk, b.i32(1), {b.i32(0)}, [&](Val t, ArrayRef<Val> state) {
      return SmallVector<Val>{state[0] + getSlots(t)};
    })[0];
  }

  void allocate() {
    Type i32 = b.getI32Type();
    bitmap = b.alloc({std::max<int64_t>(1, llvm::divideCeil(maxCandidates, 32))}, i32);
    keptCounts = b.alloc({levels}, i32);
    for (int64_t level = 0; level < levels; ++level)
      keptLists.push_back(level == 0 ? Val() : b.alloc({maxKept[level]}, i32));
  }

  /// Number of candidates of a level; the levels above are done.
  Val getCount(int64_t level) {
    if (level == levels - 1)
      return coarsest;
    Val parents = b.load(keptCounts, {b.i32(level + 1)});
    Val last = b.load(keptLists[level + 1], {parents - 1.0});
    // Only the last window of all can miss children, and it comes last.
    Val missing = b.max((last + 1.0) * double(factor) - double(shape.pyramid.sizes[level]), b.i32(0));
    return parents * double(factor) - missing;
  }

  /// Window index of candidate j of a level.
  Val getCandidate(int64_t level, Val j) {
    if (level == levels - 1)
      return first + j;
    return b.load(keptLists[level + 1], {j / double(factor)}) * double(factor) + j % double(factor);
  }

  void selectLevel(int64_t level) {
    Val count = getCount(level);
    Val words = (count + 31.0) >> b.i32(5);
    b.forRange(thread, words, b.i32(kThreads), [&](Val word) { b.store(b.i32(0), bitmap, {word}); });
    b.barrier();
    RadixSelect select(b, thread, kThreads, bitmap);
    auto load = [&](Val scores, Val scoreHead, bool mayOpen) {
      return [this, level, scores, scoreHead, mayOpen](Val j) {
        Val index = getCandidate(level, j);
        Val key = RadixSelect::orderedKey(
            b, b.load(scores, {batch, scoreHead, index + double(shape.pyramid.offsets[level])}));
        return mayOpen && op.getOpenFirstWindow() ? b.select(index == 0.0, b.i32(INT32_MAX), key) : key;
      };
    };
    Val queryBudget = b.min((budget + 1.0) >> b.i32(1), count);
    Val keyBudget = b.min(budget >> b.i32(1), count - queryBudget);
    select.mark(count, queryBudget, load(queryScores, head, /*mayOpen=*/true));
    select.mark(count, keyBudget, load(keyScores, keyHead, /*mayOpen=*/false));
    compact(level, words);
  }

  /// The marked candidates as an ascending list of window indices, by warp 0.
  void compact(int64_t level, Val words) {
    Val lane = b.id(tile::Id::Lane);
    b.ifThen(b.id(tile::Id::Warp) == 0.0, [&] {
      Val total = b.forRange(b.i32(0), words, b.i32(1), {b.i32(0)}, [&](Val word, ArrayRef<Val> state) {
        Val bits = b.load(bitmap, {word});
        Val below = b.popcount(bits & ((b.i32(1) << lane) - 1.0));
        b.ifThen(((bits >> lane) & 1.0) != 0.0, [&] {
          b.store(getCandidate(level, word * 32.0 + lane), keptLists[level], {state[0] + below});
        });
        return SmallVector<Val>{state[0] + b.popcount(bits)};
      })[0];
      b.ifThen(lane == 0.0, [&] { b.store(total, keptCounts, {b.i32(level)}); });
    });
    b.barrier();
  }

  /// How many candidates of a level have a window index below `bound`.
  Val countBelow(int64_t level, Val bound) {
    Val count = getCount(level);
    if (level == levels - 1)
      return b.min(b.max(bound - first, b.i32(0)), count);
    Val parent = bound / double(factor);
    Val list = keptLists[level + 1];
    SmallVector<Val> range = b.whileLoop(
        {b.i32(0), b.load(keptCounts, {b.i32(level + 1)})}, [&](ArrayRef<Val> s) { return s[0] < s[1]; },
        [&](ArrayRef<Val> s) {
          Val middle = (s[0] + s[1]) >> b.i32(1);
          Val smaller = b.load(list, {middle}) < parent;
          return SmallVector<Val>{b.select(smaller, middle + 1.0, s[0]), b.select(smaller, s[1], middle)};
        });
    Val parents = b.load(keptCounts, {b.i32(level + 1)});
    Val inside = range[0] < parents;
    Val found = b.load(list, {b.min(range[0], parents - 1.0)});
    Val partial = b.select(inside & (found == parent), bound % double(factor), b.i32(0));
    return b.min(range[0] * double(factor) + partial, count);
  }

  void emitLevel(int64_t level) {
    b.forRange(thread, getCount(level), b.i32(kThreads), [&](Val j) {
      Val index = getCandidate(level, j);
      Val end = (index + 1.0) * double(shape.pyramid.windows[level]);
      Val slot = j;
      for (int64_t other = 0; other < levels; ++other) {
        if (other == level)
          continue;
        // Finer entries that end with this one precede it, coarser ones follow.
        Val bound = (other < level ? end : end - 1.0) / double(shape.pyramid.windows[other]);
        slot = slot + countBelow(other, bound);
      }
      b.store(index + double(shape.pyramid.offsets[level]), output, {batch, head, firstSlot + slot});
    });
  }

  /// -1 where tail windows missed children.
  void pad() {
    Val real = b.i32(0);
    for (int64_t level = 0; level < levels; ++level)
      real = real + getCount(level);
    b.forRange(real + thread, slots, b.i32(kThreads), [&](Val slot) {
      b.store(b.i32(-1), output, {batch, head, firstSlot + slot});
    });
  }

  SelectCascadeOp op;
  const KernelRequest &request;
  KernelBuilder &b;
  CascadeShape shape;
  int64_t levels, factor, maxCandidates = 0;
  SmallVector<int64_t> maxKept;
  Val queryScores, keyScores, output, batch, head, keyHead, thread;
  Val first, coarsest, budget, slots, firstSlot, bitmap, keptCounts;
  SmallVector<Val> keptLists;
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

//===- SelectBlocksToTile.cpp - The best key blocks of each query row -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Up to 32 blocks: a warp per row. Up to 20, the best score of each lane bounds the worst that
// is taken from below, so that a second walk finds few candidates, mostly no more than lanes,
// which are ranked. Where there are more, as among equal scores, and for more blocks, a walk past a
// sorted list, one entry per lane, follows. Walks apply the rules only to chunks of a row in
// which some block is forced or hidden. More than 32 blocks: a thread block per row marks them by
// radix selection and compacts the marks, as the cascade does.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RadixSelect.h"
#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Conversion/WarpSelect.h"

using namespace mlir;
using namespace fresnel;

namespace {

/// Keys are held in shared memory up to this number of blocks.
constexpr int64_t kMaxHeldKeys = 16384;
/// Of random scores 30 pass the bound of as many lanes on average; with one more it is more than there are lanes.
constexpr int64_t kMaxBounded = 20;
/// Scores whose loads are in flight together.
constexpr int64_t kChunk = 128;

class SelectBlocksKernel {
public:
  SelectBlocksKernel(SelectBlocksOp op, const KernelRequest &request, KernelBuilder &b)
      : op(op), request(request), b(b), x(cast<RankedTensorType>(op.getScores().getType())),
        y(cast<RankedTensorType>(op.getResult().getType())), blocks(x.getDimSize(3)), take(y.getDimSize(3)) {}

  void write() { take <= WarpSelect::kMaxTake ? writeByWarps() : writeByBlock(); }

private:
  void begin(int64_t rowsPerBlock) {
    kernel =
        b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                      {int64_t(llvm::divideCeil(x.getDimSize(2), rowsPerBlock)), x.getDimSize(1), x.getDimSize(0)});
    source = b.argument(kernel, 0);
    documents = op.getDocuments() ? b.argument(kernel, 1) : Val();
    target = b.argument(kernel, op.getDocuments() ? 2 : 1);
    batch = b.id(tile::Id::BlockZ);
    head = b.id(tile::Id::BlockY);
    thread = b.id(tile::Id::Thread);
  }

  Val readKey(BlockRules &rules, Val row, Val block) {
    Val score = b.load(source, {batch, head, row, b.min(block, b.i32(blocks - 1))});
    return rules.getKey(block, score);
  }

  void writeByWarps() {
    begin(kRowThreads / 32);
    Val row = b.id(tile::Id::BlockX) * double(kRowThreads / 32) + b.id(tile::Id::Warp);
    // All conditions are uniform in a warp, so that its lanes shuffle together.
    b.ifThen(row < b.i32(x.getDimSize(2)), [&] {
      BlockRules rules(b, op, row, blocks, documents);
      auto store = [&](Val place, Val index) { b.store(index, target, {batch, head, row, place}); };
      if (take <= kMaxBounded)
        takeBounded(rules, row, store);
      else
        takeSorted(rules, row, store);
    });
  }

  void takeBounded(BlockRules &rules, Val row, function_ref<void(Val, Val)> store) {
    WarpSelect select(b, take);
    WarpSelect::List none = select.begin();
    Val largest = walkParts(rules, row, {b.i32(INT32_MIN)}, [&](Val key, Val, ArrayRef<Val> state) {
      return SmallVector<Val>{b.max(state[0], key)};
    })[0];
    Val bound = select.getBound(largest);
    SmallVector<Val> found =
        walkParts(rules, row, {none.keys, none.indices, b.i32(0)}, [&](Val key, Val first, ArrayRef<Val> state) {
          auto [list, count] = select.collect({state[0], state[1]}, state[2], key, first, bound);
          return SmallVector<Val>{list.keys, list.indices, count};
        });
    Val fits = found[2] <= 32.0;
    b.ifThen(fits, [&] { select.finishCollected({found[0], found[1]}, found[2], store); });
    b.ifThen(fits ^ b.constant(b.getI1Type(), 1), [&] { takeSorted(rules, row, store); });
  }

  void takeSorted(BlockRules &rules, Val row, function_ref<void(Val, Val)> store) {
    WarpSelect select(b, take);
    WarpSelect::List none = select.begin();
    SmallVector<Val> taken = walk(rules, row, b.i32(0), rules.end, /*plain=*/false, {none.keys, none.indices},
                                  [&](Val key, Val first, ArrayRef<Val> state) {
                                    WarpSelect::List list = select.add({state[0], state[1]}, key, first);
                                    return SmallVector<Val>{list.keys, list.indices};
                                  });
    select.finish({taken[0], taken[1]}, store);
  }

  using Use = function_ref<SmallVector<Val>(Val, Val, ArrayRef<Val>)>;

  /// Calls `use(key, first index, state)` for 32 keys of a row from `from` on after the other, each lane's its own.
  /// `plain` if the rules let all scores stand for themselves.
  SmallVector<Val> walk(BlockRules &rules, Val row, Val from, Val to, bool plain, ArrayRef<Val> init, Use use) {
    Val lane = b.id(tile::Id::Lane);
    return b.forRange(from, to, b.i32(kChunk), init, [&](Val first, ArrayRef<Val> carried) {
      SmallVector<Val> keys, state(carried);
      for (int64_t i = 0; i < kChunk; i += 32) {
        Val block = first + lane + double(i);
        keys.push_back(plain ? RadixSelect::orderedKey(b, b.load(source, {batch, head, row, block}))
                             : readKey(rules, row, block));
      }
      for (auto [i, key] : llvm::enumerate(keys))
        state = use(key, first + double(32 * i), state);
      return state;
    });
  }

  /// The same for all keys; -inf may come as a key of its own, which is less than any bound.
  SmallVector<Val> walkParts(BlockRules &rules, Val row, ArrayRef<Val> init, Use use) {
    auto [begin, end] = rules.getPlain();
    Val from = (begin + double(kChunk - 1)) & double(-kChunk);
    Val to = from + (b.max(end - from, b.i32(0)) & double(-kChunk));
    SmallVector<Val> state = walk(rules, row, b.i32(0), b.min(from, rules.end), /*plain=*/false, init, use);
    state = walk(rules, row, from, to, /*plain=*/true, state, use);
    return walk(rules, row, to, rules.end, /*plain=*/false, state, use);
  }

  void writeByBlock() {
    begin(/*rowsPerBlock=*/1);
    Val row = b.id(tile::Id::BlockX);
    BlockRules rules(b, op, row, blocks, documents);
    int64_t words = blocks / 32 + 1;
    Val bitmap = b.alloc({words}, b.getI32Type()), equals = b.alloc({words}, b.getI32Type());
    Val eligible = b.alloc({1}, b.getI32Type());
    Val keys = blocks <= kMaxHeldKeys ? b.alloc({blocks}, b.getI32Type()) : Val();
    auto load = [&](Val j) { return keys ? b.load(keys, {j}) : readKey(rules, row, j); };
    b.ifThen(thread == 0.0, [&] { b.store(b.i32(0), eligible, {b.i32(0)}); });
    b.forRange(thread, b.i32(words), b.i32(kRowThreads), [&](Val word) { b.store(b.i32(0), bitmap, {word}); });
    b.barrier();
    Val own = b.forRange(thread, rules.end, b.i32(kRowThreads), {b.i32(0)}, [&](Val j, ArrayRef<Val> state) {
      Val key = readKey(rules, row, j);
      if (keys)
        b.store(key, keys, {j});
      return SmallVector<Val>{state[0] + b.cast(key != double(INT32_MIN), b.getI32Type())};
    })[0];
    b.ifThen(own > 0.0, [&] { b.atomic(tile::Combine::Add, own, eligible, {b.i32(0)}); });
    b.barrier();
    Val count = b.min(b.load(eligible, {b.i32(0)}), b.i32(take));
    RadixSelect(b, thread, kRowThreads, equals).mark(bitmap, rules.end, count, load);
    compact(row, bitmap, words);
    b.forRange(count + thread, b.i32(take), b.i32(kRowThreads),
               [&](Val place) { b.store(b.i32(-1), target, {batch, head, row, place}); });
  }

  /// Writes the marked blocks in order: every warp counts the marks before its words.
  void compact(Val row, Val bitmap, int64_t words) {
    Val lane = b.id(tile::Id::Lane), warp = b.id(tile::Id::Warp);
    b.forRange(b.i32(0), b.i32(words), b.i32(32), {b.i32(0)}, [&](Val base, ArrayRef<Val> state) {
      Val word = base + lane, exists = word < double(words);
      Val bits = b.select(exists, b.load(bitmap, {b.min(word, b.i32(words - 1))}), b.i32(0));
      WarpScan scan(b, b.popcount(bits));
      Val before = state[0] + scan.before;
      // The warps take turns: word i is written by warp i % warps, a bit per lane.
      b.forRange(warp, b.min(b.i32(words) - base, b.i32(32)), b.i32(kRowThreads / 32), [&](Val i) {
        Val marks = b.shuffle(tile::Shuffle::Index, bits, i), start = b.shuffle(tile::Shuffle::Index, before, i);
        Val place = start + b.popcount(marks & ((b.i32(1) << lane) - 1.0));
        b.ifThen(((marks >> lane) & 1.0) != 0.0,
                 [&] { b.store((base + i) * 32.0 + lane, target, {batch, head, row, place}); });
      });
      return SmallVector<Val>{state[0] + scan.total};
    });
  }

  SelectBlocksOp op;
  const KernelRequest &request;
  KernelBuilder &b;
  RankedTensorType x, y;
  int64_t blocks, take;
  tile::KernelOp kernel;
  Val source, documents, target, batch, head, thread;
};

} // namespace

LogicalResult fresnel::lowerSelectBlocks(SelectBlocksOp op, const KernelRequest &request, KernelBuilder &b) {
  SelectBlocksKernel(op, request, b).write();
  return success();
}

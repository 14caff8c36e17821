//===- BoundKeysToTile.cpp - How large keys and values are ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A warp reads one chunk of rows. A team of its lanes, a power of two that has a lane for
// each 16 bytes of a row, takes every n-th row, of which some are in flight together.
// Magnitudes are compared as integers, in which order NaN is behind all numbers.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

/// Rows of a chunk; those that a team loads at once.
static constexpr int64_t kChunkRows = 128, kInFlight = 4;

namespace {
class Bounds {
public:
  Bounds(KernelBuilder &builder, Val chunk) : b(builder), chunk(chunk) {}

  /// The largest of the magnitudes of the elements, or of the norms of the rows, of a chunk of `source`.
  Val find(Val source, RankedTensorType type, bool norms) {
    int64_t width = getVectorWidth(type.getElementType()), vectors = type.getDimSize(3) / width;
    int64_t team = std::min<int64_t>(llvm::PowerOf2Ceil(vectors), 32), stride = 32 / team;
    Val lane = b.id(tile::Id::Lane), member = lane & double(team - 1);
    Val first = chunk * double(kChunkRows) + (lane >> double(llvm::Log2_64(team)));
    Val largest = b.forRange(
        b.i32(0), b.i32(kChunkRows), b.i32(kInFlight * stride), {b.i32(0)}, [&](Val at, ArrayRef<Val> carried) {
          // Rows beyond the last one stand for it, and a lane without elements reads the last ones.
          SmallVector<Val> sums(kInFlight, b.f32(0)), loaded;
          Val result = carried[0];
          for (int64_t column = 0; column < vectors; column += team) {
            Val vector = b.min(member + double(column), b.i32(vectors - 1)), counts = member + double(column) == vector;
            loaded.clear();
            for (int64_t i = 0; i < kInFlight; ++i) {
              Val row = b.min(first + at + double(i * stride), b.i32(type.getDimSize(2) - 1));
              loaded.push_back(
                  b.load(source, {b.id(tile::Id::BlockZ), b.id(tile::Id::BlockY), row, vector * double(width)}, width));
            }
            for (int64_t i = 0; i < kInFlight; ++i) {
              Val partial = sums[i];
              for (Val value : widen(b, loaded[i], width)) {
                if (norms)
                  partial = b.fma(value, value, partial);
                else
                  result = b.max(result, getBits(value));
              }
              sums[i] = b.select(counts, partial, sums[i]);
            }
          }
          if (!norms)
            return SmallVector<Val>{result};
          for (Val sum : sums) {
            for (int64_t mask = team / 2; mask > 0; mask /= 2)
              sum = sum + b.shuffleXor(sum, mask);
            result = b.max(result, getBits(sum));
          }
          return SmallVector<Val>{result};
        })[0];
    for (int64_t mask : {16, 8, 4, 2, 1})
      largest = b.max(largest, b.shuffleXor(largest, mask));
    Val value = b.bitcast(largest, b.getF32Type());
    return norms ? b.sqrt(value) : value;
  }

private:
  /// The magnitude's.
  Val getBits(Val value) { return b.bitcast(value, b.getI32Type()) & double(0x7fffffff); }

  KernelBuilder &b;
  Val chunk;
};
} // namespace

LogicalResult fresnel::lowerBoundKeys(BoundKeysOp op, const KernelRequest &request, KernelBuilder &b) {
  auto k = cast<RankedTensorType>(op.getK().getType()), v = cast<RankedTensorType>(op.getV().getType());
  int64_t chunks = cast<RankedTensorType>(op.getBounds().getType()).getDimSize(3), warps = kRowThreads / 32;
  tile::KernelOp kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                                        {int64_t(llvm::divideCeil(chunks, warps)), k.getDimSize(1), k.getDimSize(0)});
  Val chunk = b.id(tile::Id::BlockX) * double(warps) + b.id(tile::Id::Warp), target = b.argument(kernel, 2);
  // The condition is uniform in a warp, so that its lanes shuffle together.
  b.ifThen(chunk < double(chunks), [&] {
    Bounds bounds(b, chunk);
    Val keys = bounds.find(b.argument(kernel, 0), k, /*norms=*/false);
    Val values = bounds.find(b.argument(kernel, 1), v, /*norms=*/true);
    b.ifThen(b.id(tile::Id::Lane) == 0.0, [&] {
      b.store(keys, target, {b.id(tile::Id::BlockZ), b.id(tile::Id::BlockY), b.i32(0), chunk});
      b.store(values, target, {b.id(tile::Id::BlockZ), b.id(tile::Id::BlockY), b.i32(1), chunk});
    });
  });
  return success();
}

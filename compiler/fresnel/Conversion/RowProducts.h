//===- RowProducts.h - Rows of tensors times those of another ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A team of lanes, a power of two that has a lane for each 16 bytes of a row, sums in
// f32: each lane its chunks, then a butterfly. A thread takes several rows, whose loads
// are in flight together with what else is read of them.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_ROWPRODUCTS_H
#define FRESNEL_CONVERSION_ROWPRODUCTS_H

#include "fresnel/Conversion/RowKernel.h"
#include "llvm/Support/MathExtras.h"

namespace fresnel {

/// The products of the rows of some tensors with those of another of the same type.
class RowProducts {
public:
  /// With so many rows for a thread. Where `headsFirst`, neighbouring blocks work on the heads of the same rows, which
  /// [B, N, H, D] memory holds side by side.
  RowProducts(mlir::RankedTensorType rows, KernelBuilder &builder, int64_t perThread = 4, bool headsFirst = false)
      : b(builder), rows(rows), headsFirst(headsFirst), perThread(perThread),
        width(getVectorWidth(rows.getElementType())), chunks(rows.getDimSize(3) / width),
        team(std::min<int64_t>(llvm::PowerOf2Ceil(chunks), 32)) {}

  int64_t rowsPerBlock() const { return kRowThreads / team * perThread; }
  std::array<int64_t, 3> grid(int64_t length) const {
    int64_t blocks = llvm::divideCeil(length, rowsPerBlock()), heads = rows.getDimSize(1);
    return {headsFirst ? blocks * heads : blocks, headsFirst ? 1 : heads, rows.getDimSize(0)};
  }

  /// A row, up to a length which may be beyond the tensors': `near` is the last one then, which stands for it.
  struct Row {
    Val batch, head, row, near;
  };
  using Values = llvm::SmallVector<Val>;

  /// Calls `read` for each row and when the products are there `write`, with the row's product with each of `lefts`,
  /// of which one may be `right`, and what `read` gave, in one thread or in several alike.
  void forEachRow(llvm::ArrayRef<Val> lefts, Val right, int64_t length, llvm::function_ref<Values(Row)> read,
                  llvm::function_ref<void(Row, llvm::ArrayRef<Val>, llvm::ArrayRef<Val>)> write) {
    Val member = getMember();
    // A lane writes one row of the team's, or every `team`-th. Those left over write as the last one does:
    // behind a condition the reads would wait for the products.
    int64_t writers = std::min(team, perThread);
    llvm::SmallVector<Row> places, own;
    llvm::SmallVector<Values> others;
    for (int64_t i = 0; i < perThread; i += writers) {
      own.push_back(getRow(b.min(member, b.i32(writers - 1)) + double(i)));
      others.push_back(read(own.back()));
    }
    Values sums(perThread * lefts.size(), b.f32(0));
    for (int64_t i = 0; i < perThread; ++i)
      places.push_back(getRow(b.i32(i)));
    for (int64_t chunk = 0; chunk < chunks; chunk += team)
      add(lefts, right, places, member + double(chunk), sums);
    for (int64_t mask = team / 2; mask > 0; mask /= 2)
      for (Val &sum : sums)
        sum = sum + b.shuffleXor(sum, mask);
    for (size_t i = 0; i < own.size(); ++i) {
      auto choose = [&](llvm::ArrayRef<Val> values) {
        Val chosen = values[(i + 1) * writers - 1];
        for (int64_t lane = writers - 2; lane >= 0; --lane)
          chosen = b.select(member == double(lane), values[i * writers + lane], chosen);
        return chosen;
      };
      Values products;
      for (size_t left = 0; left < lefts.size(); ++left)
        products.push_back(choose(llvm::ArrayRef<Val>(sums).slice(left * perThread, perThread)));
      auto writeRow = [&] { write(own[i], products, others[i]); };
      length % rowsPerBlock() ? b.ifThen(own[i].row < double(length), writeRow) : writeRow();
    }
  }

  /// Calls `visit` for each row of the tensors and the first column of each of a lane's chunks of it.
  void forEachChunk(llvm::function_ref<void(Row, Val)> visit) {
    for (int64_t i = 0; i < perThread; ++i) {
      Row place = getRow(b.i32(i));
      for (int64_t first = 0; first < chunks; first += team) {
        Val chunk = getMember() + double(first);
        Val inside = (place.row < double(rows.getDimSize(2))) & (chunk < double(chunks));
        b.ifThen(inside, [&] { visit(place, chunk * double(width)); });
      }
    }
  }

private:
  Val getMember() { return b.id(tile::Id::Thread) & double(team - 1); }

  /// Row i of the team's.
  Row getRow(Val i) {
    Val batch = b.id(tile::Id::BlockZ), block = b.id(tile::Id::BlockX), thread = b.id(tile::Id::Thread);
    double heads = double(rows.getDimSize(1));
    Val head = headsFirst ? block % heads : b.id(tile::Id::BlockY);
    Val first = (headsFirst ? block / heads : block) * double(rowsPerBlock()) + (thread >> double(llvm::Log2_64(team)));
    Val row = first + i * double(kRowThreads / team);
    return {batch, head, row, b.min(row, b.i32(rows.getDimSize(2) - 1))};
  }

  /// Adds one chunk of each row.
  void add(llvm::ArrayRef<Val> lefts, Val right, llvm::ArrayRef<Row> places, Val chunk,
           llvm::MutableArrayRef<Val> sums) {
    // A lane without a chunk reads the last one and drops it.
    bool whole = chunks % team == 0;
    Val column = (whole ? chunk : b.min(chunk, b.i32(chunks - 1))) * double(width);
    // For each row the chunks of `lefts`, then that of `right`.
    llvm::SmallVector<Values> loaded;
    for (const Row &place : places) {
      llvm::SmallVector<Val> at{place.batch, place.head, place.near, column};
      Values &values = loaded.emplace_back();
      for (Val left : lefts)
        values.push_back(mlir::Value(left) == mlir::Value(right) ? Val() : b.load(left, at, width));
      values.push_back(b.load(right, at, width));
    }
    auto sumUp = [&](Val &sum, Val first, Val second) {
      Val partial = sum;
      for (auto [x, y] : llvm::zip(widen(b, first, width), widen(b, second, width)))
        partial = b.fma(x, y, partial);
      sum = whole ? partial : b.select(chunk < double(chunks), partial, sum);
    };
    for (auto [i, values] : llvm::enumerate(loaded))
      for (size_t left = 0; left < lefts.size(); ++left)
        sumUp(sums[left * perThread + i], values[left] ? values[left] : values.back(), values.back());
  }

  KernelBuilder &b;
  mlir::RankedTensorType rows;
  bool headsFirst;
  int64_t perThread, width, chunks, team;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_ROWPRODUCTS_H

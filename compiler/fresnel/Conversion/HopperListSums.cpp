//===- HopperListSums.cpp - Sums that walks over lists hand on ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperListSums.h"

using namespace mlir;
using namespace fresnel;

Val fresnel::addShared(Val sum, Val place) {
  KernelBuilder &b = sum.getBuilder();
  auto type = cast<RankedTensorType>(sum.getType());
  Type index = tile::getAccType(type.getDimSize(0), type.getDimSize(1), b.getI32Type());
  Val row = b.wrap(tile::RowIndexOp::create(b, index, Value(b.i32(0))));
  Val column = b.wrap(tile::ColIndexOp::create(b, index, Value(b.i32(0))));
  // 16 bytes of a thread come after those of the other ones of the warpgroup.
  Val thread = (row >> 4.0) * 32.0 + (row & 7.0) * 4.0 + ((column & 7.0) >> 1.0);
  Val at = ((column >> 3.0) * 128.0 + thread) * 4.0 + (column & 1.0) + ((row >> 3.0) & 1.0) * 2.0;
  return sum + b.wrap(tile::LookupOp::create(b, type, Value(place), ValueRange(), Value(at), b.getF32FloatAttr(0.0f)));
}

SmallVector<Val> fresnel::joinPieces(const PieceSums &arrays, const ListWalkPiece &own, SmallVector<Val> sums,
                                     Val leader, function_ref<void()> meet) {
  KernelBuilder &b = leader.getBuilder();
  SmallVector<Value> turn{own.sums, arrays.group};
  auto place = [&](int64_t which) { return SmallVector<Value>{own.sums, arrays.group, b.i32(which), b.i32(0)}; };
  sums = b.ifElse(
      own.piece > 0.0,
      [&] {
        b.ifThen(leader, [&] { tile::SemaphoreWaitOp::create(b, Value(arrays.turns), turn, Value(own.piece)); });
        meet();
        SmallVector<Val> joined;
        for (auto [which, sum] : llvm::enumerate(sums))
          joined.push_back(
              sum + b.wrap(tile::LoadFragmentOp::create(b, sum.getType(), Value(arrays.sums), place(int64_t(which)))));
        return joined;
      },
      [&] { return sums; });
  Val isLast = own.piece == own.pieces - 1.0;
  b.ifThen(isLast ^ 1.0, [&] {
    for (auto [which, sum] : llvm::enumerate(sums))
      tile::StoreFragmentOp::create(b, Value(sum), Value(arrays.sums), place(int64_t(which)));
  });
  meet();
  Val next = b.select(isLast, b.i32(0), own.piece + 1.0);
  tile::SemaphorePostOp::create(b, Value(next), Value(arrays.turns), turn, Value(leader));
  return sums;
}

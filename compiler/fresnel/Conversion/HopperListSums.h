//===- HopperListSums.h - Sums that walks over lists hand on ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_HOPPERLISTSUMS_H
#define FRESNEL_CONVERSION_HOPPERLISTSUMS_H

#include "fresnel/Conversion/HopperListWalks.h"

namespace fresnel {

/// `sum` and what `tile.store_fragment` stored to a shared array.
Val addShared(Val sum, Val place);

/// What the consumers of a walk that is cut hand on: the arrays of sums, [place, group, which, element], and of turns,
/// [place, group], in device memory.
struct PieceSums {
  Val sums, turns, group;
};

/// Adds the sums of the pieces of a walk before this one, and leaves the new ones to the piece behind. All threads of a
/// consumer call it; `leader` is one of them, `meet` brings them together.
llvm::SmallVector<Val> joinPieces(const PieceSums &arrays, const ListWalkPiece &own, llvm::SmallVector<Val> sums,
                                  Val leader, llvm::function_ref<void()> meet);

} // namespace fresnel

#endif // FRESNEL_CONVERSION_HOPPERLISTSUMS_H

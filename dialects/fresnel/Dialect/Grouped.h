//===- Grouped.h - Queries grouped by the blocks they list ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_DIALECT_GROUPED_H
#define FRESNEL_DIALECT_GROUPED_H

#include <cstdint>

namespace fresnel {

/// Places of a tile, all of which list one block: what `fresnel.group_rows` rounds up to.
constexpr int64_t kTilePlaces = 128;

} // namespace fresnel

#endif // FRESNEL_DIALECT_GROUPED_H

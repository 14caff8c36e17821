//===- AttendGradTiles.cpp - Gradients of attention in one pass -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Gradients.h"
#include <algorithm>
#include <cmath>
#include <limits>

using namespace fresnel;
using namespace fresnel::ref;

static constexpr int64_t kStatsStep = 128, kTileRows = 64;

static int64_t alignTo(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

Tensor ref::attendStats(const Tensor &out, const Tensor &dout, const Tensor &lse, const Tensor *dlse) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  Tensor delta = attendDelta(out, dout, dlse);
  int64_t rows = out.dim(2), padded = alignTo(rows, kStatsStep);
  Tensor stats({out.dim(0), out.dim(1), 2, padded});
  for (int64_t plane = 0; plane < out.dim(0) * out.dim(1); ++plane) {
    float *lses = stats.plane(0, plane), *deltas = lses + padded;
    std::fill_n(lses, padded, infinity);
    for (int64_t row = 0; row < rows; ++row) {
      float value = lse.data[size_t(plane * rows + row)];
      lses[row] = std::isinf(value) ? infinity : float(double(value) * M_LOG2E);
      deltas[row] = delta.data[size_t(plane * rows + row)];
    }
  }
  return stats;
}

AttendResult ref::splitStats(const Tensor &stats, int64_t rows) {
  AttendResult result{Tensor({stats.dim(0), stats.dim(1), rows}), Tensor({stats.dim(0), stats.dim(1), rows})};
  for (int64_t plane = 0; plane < stats.dim(0) * stats.dim(1); ++plane)
    for (int64_t row = 0; row < rows; ++row) {
      size_t at = size_t(plane * rows + row);
      float lse = stats.plane(0, plane)[row];
      result.lse.data[at] = std::isinf(lse) ? -lse : float(double(lse) / M_LOG2E);
      result.out.data[at] = stats.plane(0, plane)[stats.dim(3) + row];
    }
  return result;
}

/// Where an element of a tile lies.
static int64_t getPlace(int64_t row, int64_t column) {
  int64_t thread = row / 16 * 32 + row % 8 * 4 + column % 8 / 2, r = row % 16 / 8, i = column % 2;
  return 4 * (128 * (column / 8) + thread) + 2 * r + i;
}

Tensor ref::toTiles(const Tensor &rows) {
  int64_t length = rows.dim(2), columns = rows.dim(3);
  Tensor tiles({rows.dim(0), rows.dim(1), alignTo(length, kStatsStep) / kTileRows, columns * kTileRows});
  for (int64_t plane = 0; plane < rows.dim(0) * rows.dim(1); ++plane)
    for (int64_t row = 0; row < length; ++row)
      for (int64_t column = 0; column < columns; ++column)
        tiles.plane(0, plane)[row / kTileRows * tiles.dim(3) + getPlace(row % kTileRows, column)] =
            rows.plane(0, plane)[row * columns + column];
  return tiles;
}

Tensor ref::fromTiles(const Tensor &tiles, int64_t rows, int64_t columns, double scale) {
  Tensor result({tiles.dim(0), tiles.dim(1), rows, columns});
  for (int64_t plane = 0; plane < tiles.dim(0) * tiles.dim(1); ++plane)
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns; ++column)
        result.plane(0, plane)[row * columns + column] =
            float(scale * tiles.plane(0, plane)[row / kTileRows * tiles.dim(3) + getPlace(row % kTileRows, column)]);
  return result;
}

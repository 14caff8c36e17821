//===- AttendGradTiles.cpp - Gradients of attention in one pass -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Gradients.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

using namespace fresnel;
using namespace fresnel::ref;

static constexpr int64_t kStatsStep = 128, kTileRows = 64, kTermKeys = 64;
/// What the bound of a sum of dq becomes, and the least bound.
static constexpr double kIntegerBound = 0x1.e6p30, kLeastBound = 0x1p-90;

static int64_t alignTo(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

Tensor ref::attendStats(const Tensor &out, const Tensor &dout, const Tensor &lse, const Tensor *dlse) {
  return joinStats(lse, attendDelta(out, dout, dlse));
}

Tensor ref::joinStats(const Tensor &lse, const Tensor &delta) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  int64_t rows = lse.dim(2), padded = alignTo(rows, kStatsStep);
  Tensor stats({lse.dim(0), lse.dim(1), 2, padded});
  for (int64_t plane = 0; plane < lse.dim(0) * lse.dim(1); ++plane) {
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

/// The larger one, or NaN if there is one.
static float getLarger(float a, float b) { return std::isnan(a) || a >= b ? a : b; }

Tensor ref::boundKeys(const Tensor &k, const Tensor &v) {
  int64_t rows = k.dim(2), chunks = alignTo(rows, kStatsStep) / kStatsStep;
  Tensor bounds({k.dim(0), k.dim(1), 2, chunks});
  for (int64_t plane = 0; plane < k.dim(0) * k.dim(1); ++plane)
    for (int64_t row = 0; row < rows; ++row) {
      float *keys = bounds.plane(0, plane) + row / kStatsStep;
      double square = 0;
      for (int64_t column = 0; column < k.dim(3); ++column)
        *keys = getLarger(*keys, std::abs(k.plane(0, plane)[row * k.dim(3) + column]));
      for (int64_t column = 0; column < v.dim(3); ++column)
        square += std::pow(double(v.plane(0, plane)[row * v.dim(3) + column]), 2);
      keys[chunks] = getLarger(keys[chunks], float(std::sqrt(square)));
    }
  return bounds;
}

Tensor ref::addFactors(const Tensor &stats, const Tensor &dout, const Tensor &bounds) {
  int64_t rows = dout.dim(2), padded = stats.dim(3), chunks = bounds.dim(3), group = dout.dim(1) / bounds.dim(1);
  Tensor result({stats.dim(0), stats.dim(1), 3, padded});
  auto getLargest = [](const float *values, int64_t count) {
    return std::accumulate(values, values + count, 0.0f, getLarger);
  };
  for (int64_t plane = 0; plane < stats.dim(0) * stats.dim(1); ++plane) {
    std::copy_n(stats.plane(0, plane), 2 * padded, result.plane(0, plane));
    const float *bound = bounds.plane(0, plane / group), *deltas = stats.plane(0, plane) + padded;
    double keys = getLargest(bound, chunks), values = getLargest(bound + chunks, chunks);
    for (int64_t row = 0; row < padded; ++row) {
      double square = 0;
      for (int64_t column = 0; column < dout.dim(3); ++column)
        square += std::pow(double(dout.plane(0, plane)[std::min(row, rows - 1) * dout.dim(3) + column]), 2);
      double most = keys * (std::sqrt(square) * values + std::abs(double(deltas[row])));
      result.plane(0, plane)[2 * padded + row] = float(kIntegerBound / (most < kLeastBound ? kLeastBound : most));
    }
  }
  return result;
}

AttendResult ref::splitStats(const Tensor &stats, int64_t rows) {
  AttendResult result{Tensor({stats.dim(0), stats.dim(1), rows}), Tensor({stats.dim(0), stats.dim(1), rows})};
  for (int64_t plane = 0; plane < stats.dim(0) * stats.dim(1); ++plane)
    for (int64_t row = 0; row < rows; ++row) {
      size_t at = size_t(plane * rows + row);
      float lse = stats.plane(0, plane)[row];
      result.lse.data[at] = float(double(lse) / M_LOG2E);
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

IndexTensor ref::toIntegers(const Tensor &rows, const Tensor &stats) {
  Tensor scaled = rows;
  int64_t columns = rows.dim(3);
  for (int64_t plane = 0; plane < rows.dim(0) * rows.dim(1); ++plane)
    for (int64_t row = 0; row < rows.dim(2); ++row) {
      float factor = stats.plane(0, plane)[2 * stats.dim(3) + row];
      for (int64_t column = 0; column < columns; ++column)
        scaled.plane(0, plane)[row * columns + column] *= factor;
    }
  Tensor tiles = toTiles(scaled);
  IndexTensor result(tiles.shape);
  for (size_t i = 0; i < tiles.data.size(); ++i)
    result.data[i] = std::isnan(tiles.data[i]) ? 0 : int32_t(std::nearbyint(tiles.data[i]));
  return result;
}

Tensor ref::fromIntegers(const IndexTensor &tiles, const Tensor &stats, int64_t rows, int64_t columns, double scale) {
  Tensor sums(tiles.shape);
  std::copy(tiles.data.begin(), tiles.data.end(), sums.data.begin());
  Tensor result = fromTiles(sums, rows, columns, scale);
  for (int64_t plane = 0; plane < result.dim(0) * result.dim(1); ++plane)
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns; ++column)
        result.plane(0, plane)[row * columns + column] /= stats.plane(0, plane)[2 * stats.dim(3) + row];
  return result;
}

bool ref::areTooCoarse(const IndexTensor &tiles, const Tensor &stats, int64_t plane, int64_t tile, int64_t rows,
                       int64_t keys) {
  constexpr double error = 0x1p-20, variance = 0.25;
  const float *factors = stats.plane(0, plane) + 2 * stats.dim(3) + tile * kTileRows;
  const int32_t *places = tiles.plane(0, plane) + tile * tiles.dim(3);
  int64_t columns = tiles.dim(3) / kTileRows;
  double least = *std::min_element(factors, factors + kTileRows), excess = 0;
  double terms = double(alignTo(keys, kTermKeys)) / kTermKeys;
  for (int64_t row = 0; row < kTileRows; ++row) {
    double unit = least / factors[row], squares = 0;
    for (int64_t column = 0; column < columns; ++column)
      squares += std::pow(double(places[getPlace(row, column)]), 2);
    bool errs = tile * kTileRows + row < rows && factors[row] < float(kIntegerBound / kLeastBound);
    excess += unit * unit * ((errs ? variance * double(columns) * terms : 0) - error * squares);
  }
  return !(excess <= 0);
}

Tensor ref::settleTiles(const IndexTensor &tiles, const Tensor &stats, const AttendGradInputs &inputs,
                        const AttendOptions &options) {
  int64_t rows = inputs.q.dim(2), columns = inputs.q.dim(3);
  Tensor result = fromIntegers(tiles, stats, rows, columns, options.scale.value_or(1 / std::sqrt(double(columns))));
  Tensor computed;
  for (int64_t plane = 0; plane < result.dim(0) * result.dim(1); ++plane)
    for (int64_t first = 0; first < rows; first += kTileRows) {
      if (!areTooCoarse(tiles, stats, plane, first / kTileRows, rows, inputs.k.dim(2)))
        continue;
      if (computed.data.empty())
        computed = attendGradQ(inputs, options);
      std::copy_n(computed.plane(0, plane) + first * columns, std::min(kTileRows, rows - first) * columns,
                  result.plane(0, plane) + first * columns);
    }
  return result;
}

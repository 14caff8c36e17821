//===- AttendRow.h - One query row against its keys -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_ATTENDROW_H
#define FRESNEL_REFERENCE_ATTENDROW_H

#include "fresnel/Reference/Attend.h"

namespace fresnel::ref {

/// Sum of products in f64, in eight partial sums that vectorise; their order is
/// fixed, so that every machine gets the same bits.
double dot(const double *a, const float *b, int64_t count);

/// The keys that query row `i` of (b, head) sees, and its scores with them.
class AttendRow {
public:
  AttendRow(const Tensor &q, const Tensor &k, const AttendOptions &options, int64_t b, int64_t head, int64_t i);

  /// Keys in ascending order of visit, and their scores, scaled and capped.
  std::vector<int64_t> visible;
  std::vector<double> scores;

  /// Plane of the key head in k and v, b included.
  int64_t getKeyPlane() const { return keyPlane; }
  double getScale() const { return scale; }

private:
  bool isVisible(int64_t j) const;
  void add(int64_t j);
  void collect();

  const Tensor &k;
  const AttendOptions &options;
  int64_t b, head, i, heads, keys, width, keyPlane, position;
  /// The keys of the query's document: all without documents.
  int64_t begin = 0, end = keys;
  double scale;
  std::vector<double> query;
};

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_ATTENDROW_H

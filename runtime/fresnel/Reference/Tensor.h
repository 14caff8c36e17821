//===- Tensor.h - Dense tensors of the reference ops ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_TENSOR_H
#define FRESNEL_REFERENCE_TENSOR_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fresnel::ref {

/// A contiguous row-major tensor. Rows are [B, H, N, D], scores [B, H, P] or
/// [B, H, M, N].
template <typename T>
struct BasicTensor {
  std::vector<int64_t> shape;
  std::vector<T> data;

  BasicTensor() = default;
  /// All elements `value`.
  explicit BasicTensor(std::vector<int64_t> dims, T value = T()) : shape(std::move(dims)), data(elements(), value) {}
  /// `values` has as many elements as `dims` say.
  BasicTensor(std::vector<int64_t> dims, std::vector<T> values) : shape(std::move(dims)), data(std::move(values)) {}

  int64_t elements() const {
    int64_t count = 1;
    for (int64_t dim : shape)
      count *= dim;
    return count;
  }
  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  int64_t dim(int64_t index) const { return shape[index]; }
  /// First element of plane (b, h), that is of all dimensions after the second.
  T *plane(int64_t b, int64_t h) { return data.data() + (b * shape[1] + h) * planeSize(); }
  const T *plane(int64_t b, int64_t h) const { return data.data() + (b * shape[1] + h) * planeSize(); }
  int64_t planeSize() const {
    int64_t count = 1;
    for (std::size_t i = 2; i < shape.size(); ++i)
      count *= shape[i];
    return count;
  }
};

/// Values of every floating-point type are held in f32, which contains bf16 and f16.
using Tensor = BasicTensor<float>;
using IndexTensor = BasicTensor<int32_t>;

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_TENSOR_H

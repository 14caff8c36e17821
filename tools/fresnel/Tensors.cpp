//===- Tensors.cpp - Host tensors: conversion, order, random data, errors ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace fresnel::tool {

using rt::DType;

int64_t HostTensor::elements() const {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

int64_t elementBytes(DType dtype) { return rt::sizeOf(dtype); }

std::string dtypeName(DType dtype) { return rt::nameOf(dtype); }

std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

std::vector<float> toFloats(const HostTensor &tensor) {
  std::vector<float> values(tensor.elements());
  rt::toFloat(tensor.data.data(), tensor.dtype, int64_t(values.size()), values.data());
  return values;
}

HostTensor fromFloats(std::string name, DType dtype, std::vector<int64_t> shape, const std::vector<float> &values) {
  HostTensor tensor{std::move(name), dtype, std::move(shape), {}};
  tensor.data.resize(values.size() * elementBytes(dtype));
  rt::fromFloat(values.data(), dtype, int64_t(values.size()), tensor.data.data());
  return tensor;
}

HostTensor convert(const HostTensor &tensor, DType dtype) {
  return tensor.dtype == dtype ? tensor : fromFloats(tensor.name, dtype, tensor.shape, toFloats(tensor));
}

HostTensor swapHeads(const HostTensor &tensor) {
  HostTensor result{tensor.name, tensor.dtype, tensor.shape, std::vector<uint8_t>(tensor.data.size())};
  std::swap(result.shape[1], result.shape[2]);
  int64_t outer = tensor.shape[0], rows = tensor.shape[1], columns = tensor.shape[2];
  int64_t inner = elementBytes(tensor.dtype);
  for (size_t i = 3; i < tensor.shape.size(); ++i)
    inner *= tensor.shape[i];
  for (int64_t b = 0; b < outer; ++b)
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        std::memcpy(&result.data[((b * columns + j) * rows + i) * inner],
                    &tensor.data[((b * rows + i) * columns + j) * inner], inner);
  return result;
}

namespace {
/// SplitMix64: the same numbers on every platform with IEEE arithmetic.
class Uniform {
public:
  Uniform(const std::string &name, uint64_t seed) : state(seed * 0x9e3779b97f4a7c15ull + 1) {
    for (char c : name)
      state = (state ^ uint8_t(c)) * 0x100000001b3ull;
  }

  /// Between 0 and 1, neither of them.
  double operator()() {
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (double((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
  }

private:
  uint64_t state;
};
} // namespace

HostTensor randomIndices(const std::string &name, std::vector<int64_t> shape, int64_t limit, uint64_t seed) {
  HostTensor tensor{name, DType::I32, std::move(shape), {}};
  tensor.data.resize(size_t(tensor.elements()) * sizeof(int32_t));
  Uniform uniform(name, seed);
  for (size_t at = 0; at < tensor.data.size(); at += sizeof(int32_t)) {
    int32_t index = int32_t(double(limit + 1) * uniform()) - 1;
    std::memcpy(&tensor.data[at], &index, sizeof index);
  }
  return tensor;
}

HostTensor randomDocuments(const std::string &name, std::vector<int64_t> shape, int64_t length, uint64_t seed) {
  HostTensor tensor{name, DType::I32, std::move(shape), {}};
  Uniform uniform(name, seed);
  std::vector<int32_t> cuts(size_t(tensor.elements()));
  for (int32_t &cut : cuts)
    cut = int32_t(double(length + 1) * uniform());
  cuts.front() = 0;
  cuts.back() = int32_t(length);
  std::sort(cuts.begin(), cuts.end());
  tensor.data.resize(cuts.size() * sizeof(int32_t));
  std::memcpy(tensor.data.data(), cuts.data(), tensor.data.size());
  return tensor;
}

HostTensor randomMask(const std::string &name, std::vector<int64_t> shape, uint64_t seed) {
  HostTensor tensor{name, DType::I8, std::move(shape), {}};
  Uniform uniform(name, seed);
  tensor.data.resize(size_t(tensor.elements()));
  for (uint8_t &allowed : tensor.data)
    allowed = uniform() < 0.25;
  return tensor;
}

HostTensor randomTensor(const std::string &name, DType dtype, std::vector<int64_t> shape, uint64_t seed) {
  constexpr int64_t kPeriod = 1000003;
  HostTensor tensor{name, dtype, std::move(shape), {}};
  std::vector<float> values(size_t(std::min(kPeriod, tensor.elements())));
  // Box-Muller.
  Uniform uniform(name, seed);
  for (size_t i = 0; i < values.size(); i += 2) {
    double radius = std::sqrt(-2 * std::log(uniform())), angle = 6.283185307179586 * uniform();
    values[i] = float(radius * std::cos(angle));
    if (i + 1 < values.size())
      values[i + 1] = float(radius * std::sin(angle));
  }
  std::vector<uint8_t> period = fromFloats(name, dtype, {int64_t(values.size())}, values).data;
  tensor.data.resize(size_t(tensor.elements() * elementBytes(dtype)));
  for (size_t at = 0; at < tensor.data.size(); at += period.size())
    std::memcpy(tensor.data.data() + at, period.data(), std::min(period.size(), tensor.data.size() - at));
  return tensor;
}

static Comparison compareIntegers(const HostTensor &got, const HostTensor &want) {
  Comparison result;
  size_t bytes = size_t(elementBytes(want.dtype));
  for (size_t at = 0; at < want.data.size(); at += bytes)
    result.mismatches += std::memcmp(&got.data[at], &want.data[at], bytes) != 0;
  return result;
}

double oracleTolerance(DType dtype) { return dtype == DType::BF16 ? 1e-2 : dtype == DType::F16 ? 2e-3 : 1e-5; }

Comparison compare(const HostTensor &got, const HostTensor &want) {
  if (rt::isInteger(want.dtype))
    return compareIntegers(got, want);
  Comparison result;
  std::vector<float> a = toFloats(got), b = toFloats(want);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) {
      result.nonFinite += !(a[i] == b[i]);
      continue;
    }
    double d = double(a[i]) - b[i];
    difference += d * d;
    norm += double(b[i]) * b[i];
    result.maxAbs = std::max(result.maxAbs, std::fabs(d));
  }
  result.relativeL2 = std::sqrt(difference) / std::max(std::sqrt(norm), 1e-30);
  if (norm == 0 && difference == 0)
    result.relativeL2 = 0;
  return result;
}

} // namespace fresnel::tool

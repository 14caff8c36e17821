//===- Tensors.h - Host tensors: conversion, order, random data, errors -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_TENSORS_H
#define FRESNEL_TOOLS_TENSORS_H

#include "fresnel/Artifact/Manifest.h"

#include <cstdint>
#include <string>
#include <vector>

namespace fresnel::tool {

/// A contiguous tensor in host memory, row-major in the order of `shape`.
struct HostTensor {
  std::string name;
  rt::DType dtype = rt::DType::F32;
  std::vector<int64_t> shape;
  std::vector<uint8_t> data;

  int64_t elements() const;
};

/// Bytes of one element.
int64_t elementBytes(rt::DType dtype);

/// "f32", "bf16", "f16", "i32", "i8".
std::string dtypeName(rt::DType dtype);

/// "[1, 8, 8192, 128]".
std::string shapeText(const std::vector<int64_t> &shape);

/// The values of a floating-point tensor.
std::vector<float> toFloats(const HostTensor &tensor);

/// A tensor of `dtype` holding `values`, rounded to nearest even.
HostTensor fromFloats(std::string name, rt::DType dtype, std::vector<int64_t> shape, const std::vector<float> &values);

/// `tensor` in another floating-point type.
HostTensor convert(const HostTensor &tensor, rt::DType dtype);

/// Swaps dimensions 1 and 2 of a tensor of rank 3 or more: [B, N, H, D] <-> [B, H, N, D].
HostTensor swapHeads(const HostTensor &tensor);

/// Normally distributed values that depend on `seed` and `name` only. After a prime
/// number of them they repeat: long tensors cost little, and no two rows are alike.
HostTensor randomTensor(const std::string &name, rt::DType dtype, std::vector<int64_t> shape, uint64_t seed);

/// Integers from -1 to `limit` - 1, each as likely, that depend on `seed` and `name` only.
HostTensor randomIndices(const std::string &name, std::vector<int64_t> shape, int64_t limit, uint64_t seed);

/// Cumulative lengths of documents in a sequence of `length` tokens, as many as `shape` has entries
/// but one, some of them perhaps empty: 0, ascending, `length`. They depend on `seed` and `name` only.
HostTensor randomDocuments(const std::string &name, std::vector<int64_t> shape, int64_t length, uint64_t seed);

/// A mask of blocks in which every fourth byte or so is 1. It depends on `seed` and `name` only.
HostTensor randomMask(const std::string &name, std::vector<int64_t> shape, uint64_t seed);

/// Relative L2 that a run in this type may be away from the oracle.
double oracleTolerance(rt::DType dtype);

/// How far `got` is from `want`; non-finite values count as equal only to themselves.
struct Comparison {
  double relativeL2 = 0;
  double maxAbs = 0;
  int64_t mismatches = 0; ///< integer tensors: elements that differ
  int64_t nonFinite = 0;  ///< positions where exactly one side is not finite, or they differ
};
Comparison compare(const HostTensor &got, const HostTensor &want);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_TENSORS_H

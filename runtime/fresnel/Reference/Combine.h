//===- Combine.h - merge and gate -------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_COMBINE_H
#define FRESNEL_REFERENCE_COMBINE_H

#include "fresnel/Reference/Attend.h"

namespace fresnel::ref {

/// Attention over the union of disjoint key sets from the results over each:
/// weights exp(lse_i - lse). All parts have one shape. Rows where every LSE is
/// -inf give 0 and -inf.
AttendResult merge(const std::vector<AttendResult> &parts);

enum class Activation { None, Sigmoid };

struct GateOptions {
  Activation activation = Activation::None;
};

/// Branches [B, H, N, D], gates [B, H, N, branches] -> sum over i of a(gates[.., i]) branch_i.
Tensor gate(const std::vector<Tensor> &branches, const Tensor &gates, const GateOptions &options);

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_COMBINE_H

//===- Slots.h - What operations with slot maps check alike -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_DIALECT_SLOTS_H
#define FRESNEL_DIALECT_SLOTS_H

#include "fresnel/Dialect/CascadeShape.h"
#include "fresnel/Dialect/Infer.h"

namespace fresnel {

/// Checks rows beside a slot map of the pyramid that the attributes describe.
template <typename Op>
mlir::LogicalResult checkSlots(Inference<Op> infer, typename Op::Adaptor adaptor, mlir::RankedTensorType rows,
                               int64_t length) {
  mlir::RankedTensorType slots = getTensor(adaptor.getSlots());
  // scatter_by_slots_c1, gather_grad_by_slots_c1, scatter_grad_by_slots_c1, gather_grad_tiles_c3
  if (!sharesHeads(rows, slots))
    return infer.fail("the rows and `slots` must agree in batch, and the heads of the rows be a multiple of those of "
                      "`slots`, but got ",
                      rows, " and ", slots);
  int64_t levels = adaptor.getLevels(), factor = adaptor.getFactor();
  // scatter_by_slots_c2, gather_grad_by_slots_c2, scatter_grad_by_slots_c2, gather_grad_tiles_c4
  if (failed(checkPyramid(infer, length, levels, factor)))
    return mlir::failure();
  // scatter_by_slots_c4, gather_grad_by_slots_c5, scatter_grad_by_slots_c5, gather_grad_tiles_c7
  if (failed(checkDocuments(infer, length, adaptor.getDocuments())))
    return mlir::failure();
  PyramidShape shape(length, levels, factor, adaptor.getDocuments());
  // scatter_by_slots_c3, gather_grad_by_slots_c3, scatter_grad_by_slots_c3, gather_grad_tiles_c5
  if (int64_t entries = shape.length; slots.getDimSize(2) != entries)
    return infer.fail("a pyramid of ", length, " tokens with `levels` ", levels, " and `factor` ", factor, " has ",
                      entries, " entries, but `slots` has ", slots.getDimSize(2));
  return mlir::success();
}

} // namespace fresnel

#endif // FRESNEL_DIALECT_SLOTS_H

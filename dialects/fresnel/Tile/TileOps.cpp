//===- TileOps.cpp - Checks of memory and fragment operations -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Tile/Tile.h"

using namespace mlir;
using namespace fresnel::tile;

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

LogicalResult SliceOp::verify() {
  auto ring = cast<SharedType>(getRing().getType());
  if (ring.getRank() != 3 && (ring.getRank() != 2 || ring.getLayout() != Layout::Linear))
    return emitOpError() << "needs a ring of rank 3, or a linear array of rank 2, but got " << ring;
  if (getResult().getType() != ring.getTile())
    return emitOpError() << "result must be " << ring.getTile() << ", but got " << getResult().getType();
  return success();
}

LogicalResult PanelOp::verify() {
  auto tile = cast<SharedType>(getTile().getType()), result = cast<SharedType>(getResult().getType());
  if (tile.getRank() != 2 || tile.getLayout() != Layout::Swizzled || tile.getElementBytes() != 2 ||
      result.getCols() % 64 || result.getCols() > int64_t(llvm::alignTo(tile.getCols(), 64)) ||
      result != SharedType::get(getContext(), {tile.getRows(), result.getCols()}, tile.getElementType(),
                                tile.getLayout())) // panel_c1
    return emitOpError() << "needs a swizzled 16-bit tile and gives its rows and a multiple of 64 columns, but got "
                         << tile << " and " << result;
  return success();
}

LogicalResult TableOp::verify() {
  auto type = cast<GlobalType>(getResult().getType());
  if (type.getRank() != 2 || type.getStrided() || !type.getElementType().isInteger(32) ||
      type.getShape()[0] * type.getShape()[1] != int64_t(getValues().size())) // table_c1
    return emitOpError() << "needs a result of i32 and rank 2, not strided, of " << getValues().size()
                         << " elements, but got " << type;
  return success();
}

/// Checks C1 and C2 of load and store.
static LogicalResult verifyAccess(Operation *op, Type view, size_t indices, Type value) {
  ArrayRef<int64_t> shape;
  Type element;
  if (auto global = dyn_cast<GlobalType>(view)) {
    shape = global.getShape();
    element = global.getElementType();
  } else {
    shape = cast<SharedType>(view).getShape();
    element = cast<SharedType>(view).getElementType();
  }
  if (indices != shape.size()) // load_c1, store_c1
    return op->emitOpError() << "needs " << shape.size() << " indices, but got " << indices;
  if (getElementTypeOrSelf(value) != element) // load_c2, store_c2
    return op->emitOpError() << "the view holds " << element << ", but the value is " << value;
  return success();
}

LogicalResult LoadOp::verify() {
  return verifyAccess(*this, getView().getType(), getIndices().size(), getResult().getType());
}

LogicalResult StoreOp::verify() {
  return verifyAccess(*this, getView().getType(), getIndices().size(), getValue().getType());
}

LogicalResult CopyAsyncOp::verify() {
  auto source = cast<GlobalType>(getSource().getType());
  auto target = cast<SharedType>(getTarget().getType());
  if (source.getRank() != 4 || source.getShape()[3] != target.getCols() ||
      source.getElementType() != target.getElementType()) // copy_async_c1
    return emitOpError() << "cannot copy rows of " << source << " to " << target;
  if (int64_t bytes = target.getCols() * target.getElementBytes(); bytes % 16) // copy_async_c2
    return emitOpError() << "rows must be a multiple of 16 bytes, but have " << bytes;
  auto list = getList() ? cast<SharedType>(getList().getType()) : SharedType();
  bool isArray = !list || (list.getRank() == 1 && list.getElementType().isInteger(32) &&
                           list.getLayout() == Layout::Linear && getGroup() == 1);
  if (int32_t(getGroup()) <= 0 || int32_t(getBlock()) <= 0 || !isArray) // copy_async_c3
    return emitOpError() << "needs positive `group` and `block`, and a list that is a linear array of i32, without "
                            "a `group`";
  return success();
}

//===----------------------------------------------------------------------===//
// Fragments
//===----------------------------------------------------------------------===//

static bool isHalf(Type type) { return type.isBF16() || type.isF16(); }

LogicalResult AnchorOp::verify() {
  auto value = getValue().getType();
  auto scratch = cast<SharedType>(getScratch().getType());
  if (value.getShape()[0] != 64 || !value.getElementType().isF32() || scratch.getRank() != 1 ||
      scratch.getLayout() != Layout::Linear || !scratch.getElementType().isF32() ||
      scratch.getShape()[0] != 256) // anchor_c1
    return emitOpError() << "needs 64 rows of f32 and a linear array of 256 f32, but got " << value << " and "
                         << scratch;
  return success();
}

LogicalResult ToLhsOp::verify() {
  auto from = getValue().getType(), to = getResult().getType();
  if (from.getShape() != to.getShape() || from.getShape()[1] % 16) // to_lhs_c1
    return emitOpError() << "shapes must agree with a multiple of 16 columns, but got " << from << " and " << to;
  if (!from.getElementType().isF32() || !isHalf(to.getElementType())) // to_lhs_c2
    return emitOpError() << "converts f32 to bf16 or f16, but got " << from.getElementType() << " and "
                         << to.getElementType();
  return success();
}

LogicalResult LoadLhsOp::verify() {
  auto source = cast<SharedType>(getSource().getType());
  auto result = getResult().getType();
  int64_t end = int64_t(getColumn()) + result.getShape()[1];
  if (source.getRank() != 2 || source.getRows() != result.getShape()[0] || end > source.getCols() ||
      result.getShape()[1] % 16 || source.getElementType() != result.getElementType()) // load_lhs_c1
    return emitOpError() << "cannot load " << result << " at column " << getColumn() << " of " << source;
  return success();
}

LogicalResult MmaOp::verify() {
  auto lhs = getLhs().getType();
  auto acc = getAcc().getType();
  auto rhs = cast<SharedType>(getRhs().getType());
  int64_t n = acc.getShape()[1], k = lhs.getShape()[1];
  bool fits =
      rhs.getRows() == (getTransposed() ? n : k) && int64_t(getColumn()) + (getTransposed() ? k : n) <= rhs.getCols();
  if (rhs.getRank() != 2 || lhs.getShape()[0] != acc.getShape()[0] || !fits) // mma_c1
    return emitOpError() << "shapes do not fit: " << lhs << " times " << rhs << (getTransposed() ? " transposed" : "")
                         << " into " << acc;
  if (n % 16 || k % 16) // mma_c2
    return emitOpError() << "N and K must be multiples of 16, but got N = " << n << " and K = " << k;
  if (lhs.getElementType() != rhs.getElementType() || !isHalf(lhs.getElementType()) ||
      !acc.getElementType().isF32()) // mma_c3
    return emitOpError() << "operands must both be bf16 or f16 and the accumulator f32, but got "
                         << lhs.getElementType() << ", " << rhs.getElementType() << " and " << acc.getElementType();
  return success();
}

LogicalResult StoreTileOp::verify() {
  auto target = cast<GlobalType>(getTarget().getType());
  if (target.getRank() != 4 || target.getShape()[3] < getValue().getType().getShape()[1] ||
      int32_t(getGroup()) <= 0) // store_tile_c1
    return emitOpError() << "cannot store " << getValue().getType() << " to rows of " << target << " in groups of "
                         << int32_t(getGroup());
  return success();
}

/// Whether a fragment of 64 rows can lie in a tensor in the order in which threads hold it.
static bool fitsFragment(GlobalType tensor, RankedTensorType fragment, size_t indices) {
  return fragment.getShape()[0] == 64 && tensor.getElementType() == fragment.getElementType() &&
         int64_t(indices) == tensor.getRank() && tensor.getShape().back() % fragment.getNumElements() == 0;
}

LogicalResult StoreFragmentOp::verify() {
  auto value = getValue().getType();
  if (auto tensor = dyn_cast<GlobalType>(getTarget().getType())) {
    if (!fitsFragment(tensor, value, getIndices().size())) // store_fragment_c2
      return emitOpError() << "cannot store " << value << " to " << tensor << " with " << getIndices().size()
                           << " indices (64 rows; a multiple of as many elements in the innermost dimension)";
    return success();
  }
  auto target = cast<SharedType>(getTarget().getType());
  if (value.getShape()[0] != 64 || target.getRank() != 1 || target.getLayout() != Layout::Linear ||
      target.getElementType() != value.getElementType() ||
      target.getShape()[0] != value.getNumElements()) // store_fragment_c1
    return emitOpError() << "cannot store " << value << " to " << target
                         << " (64 rows; a linear array of as many elements)";
  if (!getIndices().empty()) // store_fragment_c2
    return emitOpError() << "takes no indices of a shared array, but got " << getIndices().size();
  return success();
}

LogicalResult RoundOp::verify() {
  auto value = getValue().getType(), result = getResult().getType();
  if (!value.getElementType().isF32() || !result.getElementType().isInteger(32) ||
      value.getShape() != result.getShape()) // round_c1
    return emitOpError() << "rounds f32 to i32 of the same shape, but got " << value << " and " << result;
  return success();
}

LogicalResult LoadFragmentOp::verify() {
  if (!fitsFragment(cast<GlobalType>(getSource().getType()), getResult().getType(),
                    getIndices().size())) // load_fragment_c1
    return emitOpError() << "cannot load " << getResult().getType() << " from " << getSource().getType() << " with "
                         << getIndices().size()
                         << " indices (64 rows; a multiple of as many elements in the innermost dimension)";
  return success();
}

LogicalResult StoreSharedOp::verify() {
  auto target = cast<SharedType>(getTarget().getType());
  auto value = getValue().getType();
  int64_t rows = value.getShape()[getTransposed() ? 1 : 0], cols = value.getShape()[getTransposed() ? 0 : 1];
  if (target.getRank() != 2 || target.isSwizzled() || target.getRows() < rows || target.getCols() < cols ||
      target.getElementType() != value.getElementType()) // store_shared_c1
    return emitOpError() << "cannot store " << value << (getTransposed() ? " transposed" : "") << " to " << target;
  return success();
}

LogicalResult StoreRowsOp::verify() {
  auto target = cast<GlobalType>(getTarget().getType());
  if (target.getRank() != 3 || target.getElementType() != getValue().getType().getElementType() ||
      int32_t(getGroup()) <= 0) // store_rows_c1
    return emitOpError() << "cannot store " << getValue().getType() << " to " << target << " in groups of "
                         << int32_t(getGroup());
  return success();
}

LogicalResult ColumnsOp::verify() {
  auto from = getValue().getType(), to = getResult().getType();
  int64_t first = int32_t(getFirst()), columns = to.getShape()[1];
  if (from.getShape()[0] != to.getShape()[0] || from.getElementType() != to.getElementType() || first < 0 ||
      first % 8 || columns % 8 || first + columns > from.getShape()[1]) // columns_c1
    return emitOpError() << "cannot take " << to << " from column " << first << " of " << from
                         << " (multiples of 8, inside)";
  return success();
}

LogicalResult LoadRowsOp::verify() {
  auto source = cast<GlobalType>(getSource().getType());
  if (source.getRank() != 3 || source.getElementType() != getResult().getType().getElementType() ||
      int32_t(getGroup()) <= 0) // load_rows_c1
    return emitOpError() << "cannot load " << getResult().getType() << " from " << source << " in groups of "
                         << int32_t(getGroup());
  return success();
}

LogicalResult LookupOp::verify() {
  auto elements = cast<RankedTensorType>(getElements().getType()),
       result = cast<RankedTensorType>(getResult().getType());
  auto global = dyn_cast<GlobalType>(getSource().getType());
  auto shared = dyn_cast<SharedType>(getSource().getType());
  Type element = global ? global.getElementType() : shared.getElementType();
  if (!elements.getElementType().isInteger(32) || elements.getShape() != result.getShape() ||
      elements.getEncoding() != result.getEncoding() || result.getElementType() != element ||
      getOutside().getType() != element) // lookup_c1
    return emitOpError() << "cannot look " << elements << " up in " << getSource().getType() << " for " << result
                         << " with " << getOutside() << " outside";
  int64_t rank = global ? global.getRank() : shared.getRank();
  if (int64_t(getIndices().size()) + 1 != rank || (shared && shared.getLayout() != Layout::Linear)) // lookup_c2
    return emitOpError() << "needs " << rank - 1 << " indices beside the elements, and a tensor or a linear array, "
                         << "but got " << getIndices().size() << " and " << getSource().getType();
  return success();
}

LogicalResult LoadColsOp::verify() {
  Type element = getResult().getType().getElementType();
  auto global = dyn_cast<GlobalType>(getSource().getType());
  auto shared = dyn_cast<SharedType>(getSource().getType());
  int64_t rank = global ? global.getRank() : shared.getRank();
  bool fits = global ? rank == 3 && global.getElementType() == element
                     : shared.getLayout() == Layout::Linear && shared.getElementType() == element;
  if (!fits || int64_t(getIndices().size()) != rank) // load_cols_c1
    return emitOpError() << "cannot load " << getResult().getType() << " from " << getSource().getType() << " with "
                         << getIndices().size() << " indices";
  return success();
}

//===- TileAsyncOps.cpp - Checks of WGMMA and TMA operations --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Tile/Tile.h"

using namespace mlir;
using namespace fresnel::tile;

LogicalResult WgmmaOp::verify() {
  auto result = getResult().getType();
  auto rhs = cast<SharedType>(getRhs().getType());
  auto lhs = dyn_cast<RankedTensorType>(getLhs().getType());
  auto tile = dyn_cast<SharedType>(getLhs().getType());
  int64_t rhsN = getTransposed() ? rhs.getRows() : rhs.getCols(), n = result.getShape()[1];
  int64_t k = getTransposed() ? rhs.getCols() : rhs.getRows();
  int64_t lhsK = lhs ? lhs.getShape()[1] : getLhsTransposed() ? tile.getRows() : tile.getCols();
  bool fitsLhs = lhs ? lhs.getShape()[0] == 64 : !getLhsTransposed() || tile.getCols() == 64;
  if (result.getShape()[0] != 64 || !fitsLhs || (getRhsRow() && getTransposed() ? rhsN < n : rhsN != n) || n % 8 ||
      n < 8 || n > 256 || (getRhsRow() && !getTransposed() ? lhsK > k : lhsK != k) || lhsK % 16) // wgmma_c1
    return emitOpError() << "shapes do not fit: " << getLhs().getType() << " times " << rhs
                         << (getTransposed() ? " transposed" : "") << " into " << result
                         << " (64 rows, N a multiple of 8 up to 256, K a multiple of 16)";
  for (SharedType operand : {rhs, tile}) // wgmma_c2
    if (operand && (!operand.isSwizzled() || operand.getElementBytes() != 2 || operand.getRank() != 2 ||
                    (operand == tile && getLhsTransposed() && operand.getLayout() != Layout::Swizzled)))
      return emitOpError() << "shared operands must be swizzled 16-bit tiles, with panels of 64 columns if transposed "
                              "on the left, but got "
                           << operand;
  if ((tile && !getLhsTransposed()) != bool(getLhsRow()) || (lhs && getLhsTransposed())) // wgmma_c3
    return emitOpError() << "`row` accompanies a shared left operand that is not transposed, and only that";
  APInt row;
  if (getRhsRow() && matchPattern(getRhsRow(), m_ConstantInt(&row)) &&
      row.getSExtValue() % (getTransposed() ? 8 : 16)) // wgmma_c4
    return emitOpError() << "`rows` must be a multiple of " << (getTransposed() ? 8 : 16) << ", but is "
                         << row.getSExtValue();
  return success();
}

/// Whether a box is as wide as the panels of a tile.
static bool fitsPanels(TensorMapType map, SharedType tile) {
  return tile.isSwizzled() && map.getCols() == tile.getPanelCols() && tile.getElementType() == map.getElementType();
}

LogicalResult TmaLoadOp::verify() {
  auto map = cast<TensorMapType>(getMap().getType());
  auto target = cast<SharedType>(getTarget().getType());
  int64_t rows = map.getBoxRows();
  bool fills = getTileRow() ? rows % 8 == 0 && target.getRows() % rows == 0 : target.getRows() == rows;
  if (target.getRank() != 2 || !fills || !fitsPanels(map, target)) // tma_load_c1
    return emitOpError() << "the boxes of " << map << " do not fill " << target;
  if (getEvictFirst() && getEvictLast()) // tma_load_c2
    return emitOpError() << "cannot both keep lines and give them up first";
  return success();
}

LogicalResult TmaStoreOp::verify() {
  auto map = cast<TensorMapType>(getMap().getType());
  auto source = cast<SharedType>(getSource().getType());
  if (source.getRank() != 2 || !fitsPanels(map, source)) // tma_store_c1
    return emitOpError() << "the boxes of " << map << " are not as wide as the panels of " << source;
  return success();
}

/// Checks C1 of bulk copies of linear arrays.
static LogicalResult verifyBulk(Operation *op, GlobalType global, SharedType shared, size_t indices) {
  if (shared.getRank() != 1 || shared.getLayout() != Layout::Linear || shared.getBytes() % 16 ||
      shared.getElementType() != global.getElementType() ||
      indices != size_t(global.getRank())) // bulk_load_c1, bulk_store_c1
    return op->emitOpError() << "cannot copy between " << shared << " and " << global << " at " << indices
                             << " indices (a linear array, a multiple of 16 bytes, one index per dimension)";
  return success();
}

LogicalResult BulkLoadOp::verify() {
  return verifyBulk(*this, cast<GlobalType>(getSource().getType()), cast<SharedType>(getTarget().getType()),
                    getIndices().size());
}

LogicalResult BulkStoreOp::verify() {
  auto source = cast<SharedType>(getSource().getType());
  if (failed(verifyBulk(*this, cast<GlobalType>(getTarget().getType()), source, getIndices().size())))
    return failure();
  if (getAdd() && !source.getElementType().isF32() && !source.getElementType().isInteger(32)) // bulk_store_c2
    return emitOpError() << "`add` takes f32 or i32, but got " << source.getElementType();
  return success();
}

LogicalResult StoreMatrixOp::verify() {
  auto value = cast<RankedTensorType>(getValue().getType());
  auto target = cast<SharedType>(getTarget().getType());
  int64_t cols = value.getShape()[1];
  bool fits = getTransposed()
                  ? target.getCols() == 64 && target.getPanels() == 1 && target.getRows() >= cols
                  : target.getRows() >= 64 && (getColumn() ? target.getCols() >= cols : target.getCols() == cols);
  if (value.getShape()[0] != 64 || cols % 16 || target.getRank() != 2 || !target.isSwizzled() ||
      target.getElementBytes() != 2 || !fits || (getTransposed() && getColumn())) // store_matrix_c1
    return emitOpError() << "cannot write " << value << (getTransposed() ? " transposed" : "") << " to " << target;
  bool isLhs = isa<LhsAttr>(value.getEncoding());
  if (isLhs ? value.getElementType() != target.getElementType() : !value.getElementType().isF32()) // store_matrix_c2
    return emitOpError() << "takes an f32 accumulator or a left operand of the tile's element type, but got " << value
                         << " for " << target;
  return success();
}

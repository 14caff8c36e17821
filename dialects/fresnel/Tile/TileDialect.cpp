//===- TileDialect.cpp - Registration and types of the tile dialect -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Tile/Tile.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fresnel::tile;

#include "fresnel/Tile/TileDialect.cpp.inc"
#include "fresnel/Tile/TileEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "fresnel/Tile/TileAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "fresnel/Tile/TileTypes.cpp.inc"

void TileDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "fresnel/Tile/TileAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "fresnel/Tile/TileTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "fresnel/Tile/TileOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Shaped types: `<2x64x128xbf16, keyword>`
//===----------------------------------------------------------------------===//

static ParseResult parseShape(AsmParser &parser, SmallVectorImpl<int64_t> &shape, Type &element) {
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseDimensionList(shape, /*allowDynamic=*/false) || parser.parseType(element))
    return failure();
  if (shape.empty())
    return parser.emitError(loc, "expected at least one dimension");
  return success();
}

static void printShape(AsmPrinter &printer, ArrayRef<int64_t> shape, Type element) {
  printer << "<";
  printer.printDimensionList(shape);
  printer << "x" << element;
}

Type GlobalType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  Type element;
  if (parseShape(parser, shape, element))
    return {};
  bool strided = false;
  if (succeeded(parser.parseOptionalComma())) {
    if (parser.parseKeyword("strided"))
      return {};
    strided = true;
  }
  if (parser.parseGreater())
    return {};
  return get(parser.getContext(), shape, element, strided);
}

void GlobalType::print(AsmPrinter &printer) const {
  printShape(printer, getShape(), getElementType());
  printer << (getStrided() ? ", strided>" : ">");
}

Type SharedType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  Type element;
  StringRef keyword;
  if (parseShape(parser, shape, element) || parser.parseComma())
    return {};
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword) || parser.parseGreater())
    return {};
  std::optional<Layout> layout = symbolizeLayout(keyword);
  if (!layout) {
    parser.emitError(loc, "unknown layout '")
        << keyword << "'; one of linear, padded, swizzled, swizzled64 is expected";
    return {};
  }
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), shape, element, *layout);
}

void SharedType::print(AsmPrinter &printer) const {
  printShape(printer, getShape(), getElementType());
  printer << ", " << stringifyLayout(getLayout()) << ">";
}

LogicalResult SharedType::verify(function_ref<InFlightDiagnostic()> emitError, ArrayRef<int64_t> shape, Type element,
                                 Layout layout) {
  if (shape.empty() || shape.size() > 3)
    return emitError() << "a shared tile has rank 1, 2 or 3, but got " << shape.size();
  if (!element.isIntOrFloat() || element.getIntOrFloatBitWidth() % 8)
    return emitError() << "the element type must be a number of whole bytes, but got " << element;
  if (layout == Layout::Linear)
    return success();
  int64_t rowBytes = shape.back() * (element.getIntOrFloatBitWidth() / 8);
  if (shape.size() == 1 || rowBytes % 16)
    return emitError() << "a " << stringifyLayout(layout) << " tile needs rows of a multiple of 16 bytes, but got "
                       << rowBytes;
  if ((layout == Layout::Swizzled || layout == Layout::Swizzled64) && shape[shape.size() - 2] % 8)
    return emitError() << "a " << stringifyLayout(layout) << " tile needs a multiple of 8 rows, but got "
                       << shape[shape.size() - 2];
  return success();
}

int64_t SharedType::getRowBytes() const {
  int64_t bytes = getCols() * getElementBytes();
  if (isSwizzled())
    return llvm::alignTo(bytes, getPanelBytes());
  return bytes + (getLayout() == Layout::Padded ? 16 : 0);
}

int64_t SharedType::getTileBytes() const { return getRows() * getRowBytes(); }

SharedType SharedType::getTile() const {
  return get(getContext(), getShape().drop_front(), getElementType(), getLayout());
}

//===----------------------------------------------------------------------===//
// Fragments
//===----------------------------------------------------------------------===//

bool fresnel::tile::isFragment(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && isa_and_nonnull<AccAttr, LhsAttr, RowsAttr>(tensor.getEncoding());
}

RankedTensorType fresnel::tile::getAccType(int64_t rows, int64_t cols, Type element) {
  return RankedTensorType::get({rows, cols}, element, AccAttr::get(element.getContext()));
}

RankedTensorType fresnel::tile::getLhsType(int64_t rows, int64_t cols, Type element) {
  return RankedTensorType::get({rows, cols}, element, LhsAttr::get(element.getContext()));
}

RankedTensorType fresnel::tile::getRowsType(int64_t rows, Type element) {
  return RankedTensorType::get({rows}, element, RowsAttr::get(element.getContext()));
}

int64_t fresnel::tile::getElementsPerThread(RankedTensorType fragment) {
  if (isa<RowsAttr>(fragment.getEncoding()))
    return 2;
  // 16 rows per warp: an accumulator column pair is 2 x 2 values per lane, and
  // 16 columns of an operand are four 32-bit registers.
  int64_t cols = fragment.getShape()[1];
  return isa<AccAttr>(fragment.getEncoding()) ? cols / 2 : cols / 4;
}

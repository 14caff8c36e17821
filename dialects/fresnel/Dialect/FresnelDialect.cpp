//===- FresnelDialect.cpp - Registration of the fresnel dialect -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/Fresnel.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fresnel;

AttendMasks fresnel::splitMasks(ValueRange masks, Value q) {
  AttendMasks split;
  for (Value mask : masks) {
    auto tensor = cast<TypedValue<RankedTensorType>>(mask);
    int64_t rows = cast<RankedTensorType>(q.getType()).getDimSize(2);
    bool isBounds = !split.blocks || tensor.getType().getShape() == ArrayRef<int64_t>{1, 2, rows};
    if (tensor.getType().getRank() == 4)
      (split.blocks ? split.starts : split.blocks) = tensor;
    else
      (isBounds ? split.documents : split.counts) = tensor;
  }
  return split;
}

/// `blocks(%b : type)`, `documents(%d : type)`, `starts(%s : type)` and `counts(%n : type)`, each or none, in this
/// order.
static ParseResult parseAttendMasks(OpAsmParser &parser, SmallVectorImpl<OpAsmParser::UnresolvedOperand> &masks,
                                    SmallVectorImpl<Type> &types) {
  for (auto [keyword, rank] : {std::pair(StringRef("blocks"), 4), {"documents", 3}, {"starts", 4}, {"counts", 3}}) {
    if (failed(parser.parseOptionalKeyword(keyword)))
      continue;
    SMLoc location = parser.getCurrentLocation();
    if ((keyword == "starts" || keyword == "counts") && masks.empty())
      return parser.emitError(location) << "`" << keyword << "` needs `blocks` in front of it";
    if (parser.parseLParen() || parser.parseOperand(masks.emplace_back()) ||
        parser.parseColonType(types.emplace_back()) || parser.parseRParen())
      return failure();
    if (auto tensor = dyn_cast<RankedTensorType>(types.back()); !tensor || tensor.getRank() != rank)
      return parser.emitError(location) << "`" << keyword << "` takes a tensor of rank " << rank << ", but got "
                                        << types.back();
  }
  return success();
}

static void printAttendMasks(OpAsmPrinter &printer, Operation *op, OperandRange masks, TypeRange types) {
  AttendMasks split = splitMasks(masks, op->getOperand(0));
  StringRef separator;
  for (auto [mask, type] : llvm::zip(masks, types)) {
    StringRef keyword = mask == split.blocks      ? "blocks"
                        : mask == split.documents ? "documents"
                        : mask == split.starts    ? "starts"
                                                  : "counts";
    printer << separator << keyword << '(' << mask << " : " << type << ')';
    separator = " ";
  }
}

TypedValue<RankedTensorType> fresnel::findOperand(ValueRange values, bool indices) {
  for (Value value : values)
    if (auto type = dyn_cast<RankedTensorType>(value.getType()); type && type.getElementType().isInteger() == indices)
      return cast<TypedValue<RankedTensorType>>(value);
  return {};
}

using Operands = SmallVectorImpl<OpAsmParser::UnresolvedOperand>;

/// `keyword(%x : type)` for each of the keywords, or none, in their order; the last of them takes indices, the others
/// do not.
static ParseResult parseKeywordOperands(OpAsmParser &parser, ArrayRef<StringRef> keywords, Operands &operands,
                                        SmallVectorImpl<Type> &types) {
  for (StringRef keyword : keywords) {
    if (failed(parser.parseOptionalKeyword(keyword)))
      continue;
    SMLoc location = parser.getCurrentLocation();
    if (parser.parseLParen() || parser.parseOperand(operands.emplace_back()) ||
        parser.parseColonType(types.emplace_back()) || parser.parseRParen())
      return failure();
    auto tensor = dyn_cast<RankedTensorType>(types.back());
    if (!tensor || tensor.getElementType().isInteger() != (keyword == keywords.back()))
      return parser.emitError(location) << "`" << keyword << "` takes a tensor of "
                                        << (keyword == keywords.back() ? "indices" : "numbers") << ", but got "
                                        << types.back();
  }
  return success();
}

static void printKeywordOperands(OpAsmPrinter &printer, ArrayRef<StringRef> keywords, OperandRange operands) {
  StringRef separator;
  for (Value operand : operands) {
    bool indices = cast<RankedTensorType>(operand.getType()).getElementType().isInteger();
    printer << separator << keywords[indices] << '(' << operand << " : " << operand.getType() << ')';
    separator = " ";
  }
}

static constexpr StringRef kScoreKeywords[] = {"lse", "documents"}, kPoolKeywords[] = {"of", "documents"};

static ParseResult parseScoreOperands(OpAsmParser &parser, Operands &operands, SmallVectorImpl<Type> &types) {
  return parseKeywordOperands(parser, kScoreKeywords, operands, types);
}
static void printScoreOperands(OpAsmPrinter &printer, Operation *, OperandRange operands, TypeRange) {
  printKeywordOperands(printer, kScoreKeywords, operands);
}
static ParseResult parsePoolOperands(OpAsmParser &parser, Operands &operands, SmallVectorImpl<Type> &types) {
  return parseKeywordOperands(parser, kPoolKeywords, operands, types);
}
static void printPoolOperands(OpAsmPrinter &printer, Operation *, OperandRange operands, TypeRange) {
  printKeywordOperands(printer, kPoolKeywords, operands);
}

#include "fresnel/Dialect/FresnelDialect.cpp.inc"
#include "fresnel/Dialect/FresnelEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "fresnel/Dialect/FresnelAttrs.cpp.inc"
#include "fresnel/Dialect/FresnelInterfaces.cpp.inc"
#define GET_OP_CLASSES
#include "fresnel/Dialect/FresnelOps.cpp.inc"

void FresnelDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "fresnel/Dialect/FresnelAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "fresnel/Dialect/FresnelOps.cpp.inc"
      >();
}

ProgramOp fresnel::findMainProgram(Operation *module) {
  ProgramOp main;
  for (Operation &op : module->getRegion(0).front()) {
    auto program = dyn_cast<ProgramOp>(op);
    if (!program || program->hasAttr(kKernelAttr) || program->hasAttr(kBackwardAttr))
      continue;
    if (main)
      return {};
    main = program;
  }
  return main;
}

ProgramOp fresnel::findBackwardProgram(Operation *module) {
  for (Operation &op : module->getRegion(0).front())
    if (auto program = dyn_cast<ProgramOp>(op); program && program->hasAttr(kBackwardAttr))
      return program;
  return {};
}

ProgramOp fresnel::requireMainProgram(Operation *module) {
  ProgramOp main = findMainProgram(module);
  if (!main)
    module->emitError() << "a module needs exactly one program that is not a kernel";
  return main;
}

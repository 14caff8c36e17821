//===- FresnelDialect.cpp - Registration of the fresnel dialect -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/Fresnel.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fresnel;

/// `blocks(%b : type)`, `documents(%d : type)`, or nothing.
static OptionalParseResult parseAttendMask(OpAsmParser &parser, std::optional<OpAsmParser::UnresolvedOperand> &mask,
                                           Type &type) {
  StringRef keyword;
  if (failed(parser.parseOptionalKeyword(&keyword, {"blocks", "documents"})))
    return std::nullopt;
  SMLoc location = parser.getCurrentLocation();
  if (parser.parseLParen() || parser.parseOperand(mask.emplace()) || parser.parseColonType(type) ||
      parser.parseRParen())
    return ParseResult(failure());
  int64_t rank = keyword == "blocks" ? 4 : 3;
  if (auto tensor = dyn_cast<RankedTensorType>(type); tensor && tensor.getRank() == rank)
    return ParseResult(success());
  return ParseResult(parser.emitError(location)
                     << "`" << keyword << "` takes a tensor of rank " << rank << ", but got " << type);
}

static void printAttendMask(OpAsmPrinter &printer, Operation *, Value mask, Type type) {
  printer << (cast<RankedTensorType>(type).getRank() == 4 ? "blocks(" : "documents(") << mask << " : " << type << ')';
}

/// The same, and behind it `counts(%n : type)` or nothing.
static ParseResult parseAttendMasks(OpAsmParser &parser, SmallVectorImpl<OpAsmParser::UnresolvedOperand> &masks,
                                    SmallVectorImpl<Type> &types) {
  std::optional<OpAsmParser::UnresolvedOperand> mask;
  Type type;
  if (OptionalParseResult result = parseAttendMask(parser, mask, type); result.has_value()) {
    if (failed(*result))
      return failure();
    masks.push_back(*mask);
    types.push_back(type);
  }
  if (failed(parser.parseOptionalKeyword("counts")))
    return success();
  if (masks.empty())
    return parser.emitError(parser.getCurrentLocation()) << "`counts` needs `blocks` in front of it";
  return failure(parser.parseLParen() || parser.parseOperand(masks.emplace_back()) ||
                 parser.parseColonType(types.emplace_back()) || parser.parseRParen());
}

static void printAttendMasks(OpAsmPrinter &printer, Operation *op, OperandRange masks, TypeRange types) {
  if (masks.empty())
    return;
  printAttendMask(printer, op, masks[0], types[0]);
  if (masks.size() > 1)
    printer << " counts(" << masks[1] << " : " << types[1] << ')';
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

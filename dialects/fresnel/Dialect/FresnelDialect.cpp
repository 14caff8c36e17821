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

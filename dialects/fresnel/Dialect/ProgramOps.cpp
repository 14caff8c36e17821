//===- ProgramOps.cpp - Syntax and checks of programs ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/Fresnel.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace fresnel;

//===----------------------------------------------------------------------===//
// ProgramOp
//===----------------------------------------------------------------------===//

ParseResult ProgramOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> arguments;
  if (parser.parseSymbolName(name, getSymNameAttrName(result.name), result.attributes) ||
      parser.parseArgumentList(arguments, OpAsmParser::Delimiter::Paren, /*allowType=*/true) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  // An input is called what its argument is called, without the percent sign.
  SmallVector<Attribute> names;
  for (const OpAsmParser::Argument &argument : arguments)
    names.push_back(parser.getBuilder().getStringAttr(argument.ssaName.name.drop_front()));
  result.addAttribute(getArgNamesAttrName(result.name), parser.getBuilder().getArrayAttr(names));
  return parser.parseRegion(*result.addRegion(), arguments);
}

void ProgramOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << '(';
  llvm::interleaveComma(getBody().getArguments(), printer,
                        [&](BlockArgument argument) { printer.printRegionArgument(argument); });
  printer << ')';
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {getSymNameAttrName(), getArgNamesAttrName()});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

void ProgramOp::getAsmBlockArgumentNames(Region &region, OpAsmSetValueNameFn setName) {
  for (auto [argument, name] : llvm::zip(region.getArguments(), getArgNames().getAsValueRange<StringAttr>()))
    setName(argument, name);
}

/// Constraint C1: a tensor whose size is known and not zero.
static bool isInput(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.hasStaticShape() || tensor.getRank() == 0 || llvm::is_contained(tensor.getShape(), 0))
    return false;
  Type element = tensor.getElementType();
  return element.isBF16() || element.isF16() || element.isF32() || element.isInteger(32) || element.isInteger(8);
}

LogicalResult ProgramOp::verify() {
  for (auto [index, type] : llvm::enumerate(getBody().getArgumentTypes())) // program_c1
    if (!isInput(type))
      return emitOpError() << "input " << index << " must be a non-empty tensor of static shape with bf16, f16, f32, "
                           << "i32 or i8 elements, but got " << type;
  if (getArgNames().size() != getBody().getNumArguments()) // program_c2
    return emitOpError() << "has " << getBody().getNumArguments() << " inputs, but `arg_names` has "
                         << getArgNames().size();
  llvm::StringSet<> seen;
  for (StringRef name : getArgNames().getAsValueRange<StringAttr>()) // program_c2
    if (!seen.insert(name).second)
      return emitOpError() << "has two inputs called '" << name << "'";
  return success();
}

LogicalResult ProgramOp::verifyRegions() {
  if (getBody().front().empty() || !isa<ReturnOp>(getBody().front().back())) // program_c3
    return emitOpError() << "body must end with `fresnel.return`";
  return success();
}

ReturnOp ProgramOp::getReturn() { return cast<ReturnOp>(getBody().front().back()); }

//===----------------------------------------------------------------------===//
// ReturnOp and LaunchOp
//===----------------------------------------------------------------------===//

LogicalResult ReturnOp::verify() {
  if (getNames().size() != getOperands().size()) // return_c1
    return emitOpError() << "has " << getOperands().size() << " results, but `names` has " << getNames().size();
  llvm::StringSet<> seen;
  for (StringRef name : getNames().getAsValueRange<StringAttr>()) // return_c1
    if (!seen.insert(name).second)
      return emitOpError() << "`names` holds '" << name << "' twice";
  for (auto [index, value] : llvm::enumerate(getOperands())) // return_c2
    if (isa<BlockArgument>(value))
      return emitOpError() << "result '" << getName(index) << "' is an input of the program; return a computed value";
  return success();
}

LogicalResult LaunchOp::verify() {
  if (auto offsets = getOffsets(); offsets && offsets->size() != getOutputs().size()) // launch_c1
    return emitOpError() << "has " << getOutputs().size() << " results, but `offsets` has " << offsets->size();
  return success();
}

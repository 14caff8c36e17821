//===- TileKernelOps.cpp - Kernels, roles and barriers: syntax and checks -===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Tile/Tile.h"
#include "mlir/Interfaces/FunctionImplementation.h"

using namespace mlir;
using namespace fresnel::tile;

int64_t fresnel::tile::getCluster(Operation *op) {
  for (; op; op = op->getParentOp())
    if (auto cluster = op->getAttrOfType<IntegerAttr>(kClusterAttr))
      return cluster.getInt();
  return 1;
}

ParseResult KernelOp::parse(OpAsmParser &parser, OperationState &result) {
  auto buildType = [](Builder &builder, ArrayRef<Type> arguments, ArrayRef<Type> results,
                      function_interface_impl::VariadicFlag,
                      std::string &) { return builder.getFunctionType(arguments, results); };
  return function_interface_impl::parseFunctionOp(parser, result, /*allowVariadic=*/false,
                                                  getFunctionTypeAttrName(result.name), buildType,
                                                  getArgAttrsAttrName(result.name), getResAttrsAttrName(result.name));
}

void KernelOp::print(OpAsmPrinter &printer) {
  function_interface_impl::printFunctionOp(printer, *this, /*isVariadic=*/false, getFunctionTypeAttrName(),
                                           getArgAttrsAttrName(), getResAttrsAttrName());
}

LogicalResult KernelOp::verify() {
  for (auto [name, sizes] : {std::pair("block", getBlock()), std::pair("grid", getGrid())}) // kernel_c1
    if (sizes.size() != 3 || llvm::any_of(sizes, [](int32_t size) { return size <= 0; }))
      return emitOpError() << "`" << name << "` must have three positive entries, but got [" << sizes << "]";
  if (int64_t threads = getThreads(); threads % 32 || threads > 1024) // kernel_c2
    return emitOpError() << "`block` must hold a multiple of 32 and at most 1024 threads, but got " << threads;
  int64_t cluster = getCluster(*this);
  if (cluster < 1 || cluster > 8 || getGrid()[0] % cluster) // kernel_c3
    return emitOpError() << "`fresnel.cluster` must be in [1, 8] and divide the grid's " << getGrid()[0]
                         << " blocks in x, but is " << cluster;
  return success();
}

LogicalResult WarpSpecializeOp::verify() {
  int64_t producer = getProducerRegisters(), consumer = getConsumerRegisters(), consumers = getConsumers();
  for (int64_t registers : {producer, consumer}) // warp_specialize_c1
    if (registers % 8 || registers < 24 || registers > 240)
      return emitOpError() << "register counts must be multiples of 8 in [24, 240], but got " << registers;
  int64_t limit = consumers >= 3 ? 512 : 504; // warp_specialize_c2
  if (int64_t total = producer + consumers * consumer; total > limit)
    return emitOpError() << "the roles need " << total << " registers per four lanes, but a block of " << consumers + 1
                         << " warpgroups has " << limit;
  if (auto kernel = (*this)->getParentOfType<KernelOp>()) // warp_specialize_c3
    if (kernel.getThreads() != 128 * (consumers + 1))
      return emitOpError() << consumers << " consumers and a producer need a block of " << 128 * (consumers + 1)
                           << " threads, but it has " << kernel.getThreads();
  return success();
}

LogicalResult BarrierOp::verify() {
  if (getId() && !getThreads())
    return emitOpError() << "a named barrier needs `threads`";
  if (Value id = getId()) { // barrier_c1
    APInt value;
    if (matchPattern(id, m_ConstantInt(&value)) && (value.slt(1) || value.sgt(15)))
      return emitOpError() << "`id` must be in [1, 15], but got " << value.getSExtValue();
  }
  if (auto threads = getThreads(); threads && (*threads <= 0 || *threads % 32)) // barrier_c2
    return emitOpError() << "`threads` must be a positive multiple of 32, but got " << *threads;
  return success();
}

#define GET_OP_CLASSES
#include "fresnel/Tile/TileOps.cpp.inc"

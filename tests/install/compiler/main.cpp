//===- main.cpp - Compiles a preset with the installed compiler -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Compiler/Compiler.h"
#include "fresnel/InitAll.h"
#include "fresnel/Presets/Presets.h"
#include "llvm/Support/raw_ostream.h"

int main() {
  mlir::DialectRegistry registry;
  fresnel::registerAllDialects(registry);
  mlir::MLIRContext context(registry);
  context.loadAllAvailableDialects();
  const fresnel::Preset *preset = fresnel::findPreset("dense");
  if (!preset)
    return 1;
  auto text = fresnel::instantiate(*preset, llvm::cantFail(fresnel::resolveParams(*preset, {{"seq_len", "128"}})));
  auto module = fresnel::parseProgramText(llvm::cantFail(std::move(text)), "dense.mlir", context);
  fresnel::CompileOptions options;
  options.target = "sm_80";
  auto bundle = fresnel::compileProgram(*llvm::cantFail(std::move(module)), options);
  if (!bundle) {
    llvm::errs() << llvm::toString(bundle.takeError()) << "\n";
    return 1;
  }
  llvm::outs() << bundle->ptx.size() << " kernel for " << bundle->manifest.target.name << "\n";
  return bundle->ptx.size() == 1 ? 0 : 1;
}

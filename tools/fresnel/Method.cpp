//===- Method.cpp - What the user names: a preset, an .mlir file ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Method.h"
#include "Common.h"

#include "fresnel/InitAll.h"
#include "fresnel/Presets/Presets.h"
#include "fresnel/Target/TargetInfo.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

namespace fresnel::tool {

Method::Method() = default;
Method::Method(Method &&) = default;
Method::~Method() {
  // The operations go before the context that owns their types.
  module = {};
}

std::unique_ptr<mlir::MLIRContext> makeContext() {
  mlir::DialectRegistry registry;
  registerAllDialects(registry);
  auto context = std::make_unique<mlir::MLIRContext>(registry);
  context->loadAllAvailableDialects();
  return context;
}

bool isBundle(const std::string &method) { return llvm::StringRef(method).ends_with(".fkb"); }

bool isFile(const std::string &method) {
  return llvm::StringRef(method).ends_with(".mlir") || llvm::StringRef(method).contains('/');
}

static Method parseFile(const std::string &path) {
  if (!llvm::sys::fs::exists(path))
    fail(ExitUsage, path + ": no such file");
  Method method;
  method.name = llvm::sys::path::stem(path).str();
  method.context = makeContext();
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> module = parseProgramFile(path, *method.context);
  if (!module)
    fail(ExitFormat, llvm::toString(module.takeError()));
  method.module = std::move(*module);
  return method;
}

Method loadProgramText(const std::string &text, const std::string &name) {
  Method method;
  method.name = name;
  method.context = makeContext();
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> module = parseProgramText(text, name + ".mlir", *method.context);
  if (!module)
    fail(ExitFormat, llvm::toString(module.takeError()));
  method.module = std::move(*module);
  return method;
}

CompileResult compileMethod(Method &method, CompileOptions options) {
  options.name = method.name;
  options.parameters = method.parameters;
  llvm::Expected<CompileResult> result = runStages(method.module, options);
  if (!result)
    fail(ExitUnsupported, llvm::toString(result.takeError()));
  return std::move(*result);
}

void checkTarget(const std::string &target) {
  std::vector<std::string> names;
  for (const TargetInfo &info : getTargets())
    names.push_back(info.name.str());
  if (!std::count(names.begin(), names.end(), target))
    fail(ExitUsage, "unknown target '" + target + "'", suggestion(target, names));
}

} // namespace fresnel::tool

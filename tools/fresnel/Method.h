//===- Method.h - What the user names: a preset, an .mlir file --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_METHOD_H
#define FRESNEL_TOOLS_METHOD_H

#include "fresnel/Compiler/Compiler.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace mlir {
class MLIRContext;
}

namespace fresnel::tool {

/// A program in the dialect, with the context that owns it.
struct Method {
  std::string name;
  /// Values of all parameters of the preset as a JSON object, "{}" for a file.
  std::string parameters = "{}";
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;

  Method();
  Method(Method &&);
  ~Method();
};

/// True if `method` names a bundle file (ends in .fkb).
bool isBundle(const std::string &method);

/// True if `method` names an .mlir file rather than a preset.
bool isFile(const std::string &method);

/// The path of the file that `method` names, or "" if it is a preset.
std::string findMethodFile(const std::string &method);

/// True if the preset `method` has a parameter `parameter`.
bool presetHasParameter(const std::string &method, const std::string &parameter);

/// Loads a preset or a file. `sets` are NAME=VALUE texts; `derived` are values
/// taken from the input, which `sets` may not contradict. Fails with ExitUsage
/// for unknown names and values out of range, ExitFormat for a malformed file.
Method loadMethod(const std::string &method, const std::vector<std::string> &sets,
                  const std::map<std::string, std::string> &derived = {});

/// Fails with ExitUsage where a user's NAME=VALUE texts give one parameter two values.
void checkSets(const std::vector<std::string> &sets);

/// Parses the program text that a bundle carries.
Method loadProgramText(const std::string &text, const std::string &name);

/// Adds the gradients of the inputs with respect to `outputs`, the first one if
/// there are none; fails with ExitUsage for a name that no output has, else with
/// ExitUnsupported and the diagnostics.
void differentiate(Method &method, const std::vector<std::string> &outputs);

/// Runs the compiler on `method`; fails with ExitUnsupported and the diagnostics.
CompileResult compileMethod(Method &method, CompileOptions options);

/// Fails with ExitUsage unless `target` is known.
void checkTarget(const std::string &target);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_METHOD_H

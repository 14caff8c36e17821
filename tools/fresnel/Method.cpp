//===- Method.cpp - What the user names: a preset, an .mlir file ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Method.h"
#include "Common.h"

#include "fresnel/Dialect/Fresnel.h"
#include "fresnel/InitAll.h"
#include "fresnel/Presets/Presets.h"
#include "fresnel/Target/TargetInfo.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <algorithm>

namespace fresnel::tool {

Method::Method() = default;
Method::Method(Method &&) = default;
Method::~Method() {
  // The operations go before the context that owns their types.
  module = {};
}

bool isBundle(const std::string &method) { return llvm::StringRef(method).ends_with(".fkb"); }

bool isFile(const std::string &method) {
  return llvm::StringRef(method).ends_with(".mlir") || llvm::StringRef(method).contains('/');
}

std::string findMethodFile(const std::string &method) { return isFile(method) || isBundle(method) ? method : ""; }

static Method parseFile(const std::string &path) {
  if (!llvm::sys::fs::exists(path))
    fail(ExitUsage, path + ": no such file");
  if (llvm::sys::fs::is_directory(path))
    fail(ExitUsage, path + " is a folder, but a method is a preset or a .mlir file");
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

/// Names of the program's outputs.
static std::vector<std::string> listOutputs(Method &method) {
  std::vector<std::string> names;
  if (ProgramOp program = findMainProgram(*method.module))
    for (unsigned i = 0; i < program.getReturn().getNumOperands(); ++i)
      names.push_back(program.getReturn().getName(i).str());
  return names;
}

void differentiate(Method &method, const std::vector<std::string> &outputs) {
  std::vector<std::string> known = listOutputs(method);
  for (const std::string &name : outputs)
    if (std::count(outputs.begin(), outputs.end(), name) > 1)
      fail(ExitUsage, "--grad-of names the output '" + name + "' more than once", "name it once");
    else if (!known.empty() && !std::count(known.begin(), known.end(), name))
      fail(ExitUsage, "--grad-of: the program has no output '" + name + "'", suggestion(name, known));
  if (llvm::Error error = differentiateProgram(*method.module, outputs))
    fail(ExitUnsupported, llvm::toString(std::move(error)));
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

bool presetHasParameter(const std::string &method, const std::string &parameter) {
  const Preset *preset = findPreset(method);
  return preset && preset->findParam(parameter);
}

static std::vector<std::string> presetNames() {
  std::vector<std::string> names;
  for (const Preset &preset : getPresets())
    names.push_back(preset.name);
  return names;
}

void checkSets(const std::vector<std::string> &sets) {
  std::map<std::string, std::string> given;
  for (const std::string &text : sets) {
    auto [name, value] = splitAssignment("--set", text);
    auto before = given.emplace(name, value).first;
    if (before->second != value)
      fail(ExitUsage, "--set gives " + name + " two values, " + before->second + " and " + value, "leave one out");
  }
}

/// The parameters given by --set, and those that the input implies.
static std::map<std::string, std::string> collectValues(const std::vector<std::string> &sets,
                                                        const std::map<std::string, std::string> &derived) {
  std::map<std::string, std::string> values = derived;
  for (const std::string &text : sets) {
    auto [name, value] = splitAssignment("--set", text);
    auto implied = derived.find(name);
    if (implied != derived.end() && implied->second != value)
      fail(ExitUsage,
           "--set " + name + "=" + value + " contradicts the input, which has " + name + " " + implied->second);
    values[name] = value;
  }
  return values;
}

Method loadMethod(const std::string &name, const std::vector<std::string> &sets,
                  const std::map<std::string, std::string> &derived) {
  if (isBundle(name))
    fail(ExitUsage, name + " is a bundle, which is compiled already", "fresnel inspect, run and bench take bundles");
  if (isFile(name)) {
    if (!sets.empty())
      fail(ExitUsage, "--set applies to presets; " + name + " is a file", "edit the file");
    return parseFile(name);
  }
  const Preset *preset = findPreset(name);
  if (!preset)
    fail(ExitUsage, "unknown method '" + name + "'", suggestion(name, presetNames()));
  std::map<std::string, std::string> values = collectValues(sets, derived);
  llvm::Expected<std::map<std::string, std::string>> resolved = resolveParams(*preset, values);
  if (!resolved)
    fail(ExitUsage, llvm::toString(resolved.takeError()));
  llvm::Expected<std::string> text = instantiate(*preset, values);
  if (!text)
    fail(ExitUsage, llvm::toString(text.takeError()));
  try {
    Method method = loadProgramText(*text, name);
    method.parameters = Json(*resolved).dump();
    return method;
  } catch (const Failure &failure) {
    // The text is ours, so it is the values that do not go together.
    fail(ExitUsage, failure.message, "fresnel presets " + name + " lists the parameters and their meaning");
  }
}

} // namespace fresnel::tool

//===- Stage.cpp - The stages of a compilation and their files ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Compiler/Stage.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

namespace fresnel {

static constexpr Stage kStages[] = {Stage::Program, Stage::Plan, Stage::Scheduled, Stage::Tile,
                                    Stage::NVVM,    Stage::LLVM, Stage::PTX,       Stage::Manifest};
static constexpr llvm::StringLiteral kNames[] = {"program", "plan", "scheduled", "tile",
                                                 "nvvm",    "llvm", "ptx",       "manifest"};

llvm::StringRef stringifyStage(Stage stage) { return kNames[static_cast<int>(stage)]; }

std::optional<Stage> parseStage(llvm::StringRef name) {
  for (Stage stage : kStages)
    if (stringifyStage(stage) == name)
      return stage;
  return std::nullopt;
}

static llvm::StringRef extensionOf(Stage stage, bool perKernel) {
  if (stage == Stage::PTX)
    return ".ptx";
  if (perKernel)
    return ".ll";
  return stage == Stage::Manifest ? ".json" : ".mlir";
}

llvm::Error dumpStage(llvm::StringRef dir, Stage stage, llvm::StringRef kernel, llvm::StringRef text) {
  if (std::error_code code = llvm::sys::fs::create_directories(dir))
    return llvm::createStringError(code, "cannot create the folder " + dir + ": " + code.message());
  std::string name = "0" + std::to_string(static_cast<int>(stage)) + "-" + stringifyStage(stage).str();
  if (!kernel.empty())
    name += "-" + kernel.str();
  llvm::SmallString<128> path(dir);
  llvm::sys::path::append(path, name + extensionOf(stage, !kernel.empty()));
  std::error_code code;
  llvm::raw_fd_ostream stream(path, code);
  if (code)
    return llvm::createStringError(code, "cannot write " + path + ": " + code.message());
  stream << text;
  stream.close();
  if (stream.has_error()) {
    code = stream.error();
    stream.clear_error();
    return llvm::createStringError(code, "cannot write " + path + ": " + code.message());
  }
  return llvm::Error::success();
}

} // namespace fresnel

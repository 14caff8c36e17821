//===- Ptxas.cpp - resource use of a kernel, from the CUDA assembler -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Ptxas.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>
#include <utility>
#include <vector>

namespace fresnel::tool {

static std::vector<std::string> toolkitFolders() {
  std::vector<std::string> folders;
  if (const char *home = std::getenv("CUDA_HOME"))
    folders.push_back(std::string(home) + "/bin");
  folders.push_back("/usr/local/cuda/bin");
  return folders;
}

std::optional<std::string> findPtxas() {
  if (const char *given = std::getenv("FRESNEL_PTXAS")) {
    if (llvm::sys::fs::can_execute(given))
      return std::string(given);
    return std::nullopt;
  }
  if (auto found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  for (const std::string &folder : toolkitFolders())
    if (std::string path = folder + "/ptxas"; llvm::sys::fs::can_execute(path))
      return path;
  return std::nullopt;
}

std::string whyNoPtxas() {
  if (const char *given = std::getenv("FRESNEL_PTXAS"))
    return std::string("FRESNEL_PTXAS is '") + given + "', which cannot be run";
  std::string text = "FRESNEL_PTXAS is not set, and none is in PATH";
  for (const std::string &folder : toolkitFolders())
    text += ", " + folder;
  return text;
}

/// Why no temporary file can be made.
static std::string explainTemporary(std::error_code error) {
  llvm::SmallString<128> folder;
  llvm::sys::path::system_temp_directory(/*erasedOnReboot=*/true, folder);
  return ("cannot create a temporary file in '" + folder + "': " + error.message() + "; set TMPDIR to a folder").str();
}

/// Runs `program` and returns its exit code; its stdout and stderr go to `output`.
static int runCaptured(const std::string &program, llvm::ArrayRef<llvm::StringRef> arguments, std::string &output) {
  llvm::SmallString<128> log;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("fresnel", "log", log)) {
    output = explainTemporary(error);
    return -1;
  }
  llvm::FileRemover removeLog(log);
  std::optional<llvm::StringRef> redirects[] = {llvm::StringRef(""), log.str(), log.str()};
  llvm::SmallVector<llvm::StringRef> all = {program};
  all.append(arguments.begin(), arguments.end());
  std::string error;
  int code = llvm::sys::ExecuteAndWait(program, all, std::nullopt, redirects, /*SecondsToWait=*/600, 0, &error);
  if (auto buffer = llvm::MemoryBuffer::getFile(log))
    output = (*buffer)->getBuffer().str();
  if (!error.empty())
    output += error;
  return code;
}

std::string ptxasVersion(const std::string &ptxas) {
  std::string output;
  if (runCaptured(ptxas, {"--version"}, output) != 0)
    return "";
  for (llvm::StringRef line : llvm::split(output, '\n'))
    if (line.contains("release"))
      return line.substr(line.find("release")).str();
  return "";
}

/// The integer that ends right before `marker` in `line`, 0 if there is none.
static int64_t numberBefore(llvm::StringRef line, llvm::StringRef marker) {
  size_t at = line.find(marker);
  if (at == llvm::StringRef::npos)
    return 0;
  llvm::StringRef head = line.take_front(at).rtrim();
  llvm::StringRef digits = head.take_back(head.size() - (head.find_last_not_of("0123456789") + 1));
  int64_t value = 0;
  return digits.getAsInteger(10, value) ? 0 : value;
}

static void parseLog(llvm::StringRef log, PtxasReport &report) {
  for (llvm::StringRef line : llvm::split(log, '\n')) {
    if (line.contains("spill stores"))
      report.spillBytes += numberBefore(line, " bytes spill stores") + numberBefore(line, " bytes spill loads");
    if (line.contains("Used ") && line.contains(" registers")) {
      report.registers = std::max<int>(report.registers, numberBefore(line, " registers"));
      report.staticShared = std::max(report.staticShared, numberBefore(line, " bytes smem"));
    }
    if (line.contains("(C75"))
      report.error += line.trim().str() + "\n";
  }
}

PtxasReport assemble(const std::string &ptxas, const std::string &ptx, const std::string &target) {
  PtxasReport report;
  llvm::SmallString<128> source;
  int descriptor;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("fresnel", "ptx", descriptor, source)) {
    report.failure = explainTemporary(error);
    return report;
  }
  llvm::FileRemover removeSource(source);
  {
    llvm::raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
    stream << ptx;
    stream.flush();
    if (stream.has_error()) {
      report.failure = "cannot write '" + source.str().str() + "': " + stream.error().message();
      stream.clear_error();
      return report;
    }
  }
  std::string log;
  std::string arch = "-arch=" + target;
  int code = runCaptured(ptxas, {"-v", arch, source.str(), "-o", "/dev/null"}, log);
  // One that was not run, did not end, or says nothing has no opinion of the code.
  if (code < 0 || (code > 0 && log.empty()))
    report.failure =
        ptxas + (log.empty() ? " ended with code " + std::to_string(code) + " and no message" : ": " + log);
  else if (code > 0)
    report.error = log;
  // Of a target or a version of PTX that is newer than it, ptxas says nothing of the code.
  if (llvm::StringRef(log).contains("not defined for option 'gpu-name'") ||
      llvm::StringRef(log).contains("Unsupported .version"))
    report.failure = ptxas + " is too old for " + target + ": " + std::exchange(report.error, "");
  parseLog(log, report);
  return report;
}

} // namespace fresnel::tool

//===- Options.cpp - Checks of what options are given -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Options.h"
#include "Common.h"

#include "llvm/ADT/StringRef.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sys/stat.h>
#include <unistd.h>

namespace fresnel::tool {

CLI::Validator wholeNumber(int64_t least, int64_t most) {
  std::string range = most == INT64_MAX ? "of at least " + std::to_string(least)
                                        : "in [" + std::to_string(least) + ", " + std::to_string(most) + "]";
  auto check = [least, most, range](std::string &text) -> std::string {
    int64_t value = 0;
    if (!llvm::StringRef(text).getAsInteger(10, value) && value >= least && value <= most)
      return "";
    return "takes a whole number " + range + ", but got '" + text + "'";
  };
  return CLI::Validator(check, "");
}

CLI::Validator numberOf(const std::string &unit, double least, double most) {
  char range[64];
  std::snprintf(range, sizeof range, "[%.15g, %.15g]", least, most);
  auto check = [least, most, text = "takes " + unit + " in " + range](std::string &given) -> std::string {
    double value = 0;
    // Not a number is in no range.
    if (!llvm::StringRef(given).getAsDouble(value) && value >= least && value <= most)
      return "";
    return text + ", but got '" + given + "'";
  };
  return CLI::Validator(check, "");
}

void checkWritable(const std::string &path) {
  struct stat info;
  if (path.empty())
    return;
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    fail(ExitEnvironment, "cannot write '" + path + "': it is not a regular file");
  // A new file takes the place of an old one, so it is the folder that counts.
  size_t end = path.rfind('/');
  std::string folder = end == std::string::npos ? "." : path.substr(0, end + 1);
  if (access(folder.c_str(), W_OK | X_OK) != 0)
    fail(ExitEnvironment, "cannot write '" + path + "': " + std::strerror(errno));
}

} // namespace fresnel::tool

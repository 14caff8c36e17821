//===- Options.cpp - Checks of what options are given -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Options.h"
#include "Common.h"

#include "llvm/ADT/StringRef.h"

#include <algorithm>
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
  if (path == "-")
    fail(ExitUsage, "results go to a file, but its name is '-'", "name a file; ./- is one");
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    fail(ExitEnvironment, "cannot write '" + path + "': it is not a regular file");
  // A new file takes the place of an old one, so it is the folder that counts.
  size_t end = path.rfind('/');
  std::string folder = end == std::string::npos ? "." : path.substr(0, end + 1);
  if (access(folder.c_str(), W_OK | X_OK) != 0)
    fail(ExitEnvironment, "cannot write '" + path + "': " + std::strerror(errno));
}

void checkSpares(const std::string &option, const std::string &path, const std::vector<std::string> &inputs) {
  struct stat result, source;
  if (path.empty() || stat(path.c_str(), &result) != 0)
    return;
  for (const std::string &input : inputs)
    if (!input.empty() && stat(input.c_str(), &source) == 0 && source.st_dev == result.st_dev &&
        source.st_ino == result.st_ino)
      fail(ExitUsage, option + " '" + path + "' is the file that is read, which would be lost", "name another file");
}

void checkNotEmpty(CLI::App &app) {
  for (CLI::App *command : app.get_subcommands()) {
    for (const CLI::Option *option : command->get_options()) {
      const std::vector<std::string> &values = option->results();
      // No fields are to be changed, as scripts that pass on their own option say it.
      if (option->get_name() == "--schedule" || option->get_name() == "--gradient-schedule")
        continue;
      if (std::count(values.begin(), values.end(), ""))
        fail(ExitUsage, option->get_name() + ": takes a value, but got ''", "leave the option out");
    }
    checkNotEmpty(*command);
  }
}

} // namespace fresnel::tool

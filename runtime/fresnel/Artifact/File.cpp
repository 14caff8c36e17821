//===- File.cpp - Whole-file reads and all-or-nothing writes
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/File.h"
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fresnel::rt {

static Status systemError(const std::string &what, const std::string &path) {
  return Status(Code::IoError, "cannot " + what + " '" + path + "': " + std::strerror(errno));
}

Expected<std::string> readFile(const std::string &path) {
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return systemError("open", path);
  struct stat info;
  if (fstat(file, &info) == 0 && S_ISDIR(info.st_mode)) {
    close(file);
    return Status(Code::IoError, "cannot read '" + path + "': it is a directory");
  }
  std::string content;
  char buffer[1 << 16];
  ssize_t count;
  while ((count = read(file, buffer, sizeof buffer)) > 0 || (count < 0 && errno == EINTR))
    if (count > 0)
      content.append(buffer, size_t(count));
  Status status = count < 0 ? systemError("read", path) : Status();
  close(file);
  if (!status.ok())
    return status;
  return content;
}

bool isNestedDeeperThan(std::string_view json, int limit) {
  int depth = 0;
  bool inString = false;
  for (size_t i = 0; i < json.size(); ++i) {
    char c = json[i];
    if (inString && c == '\\')
      ++i;
    else if (c == '"')
      inString = !inString;
    else if (!inString && (c == '[' || c == '{') && ++depth > limit)
      return true;
    else if (!inString && (c == ']' || c == '}'))
      --depth;
  }
  return false;
}

static bool writeAll(int file, std::string_view data) {
  while (!data.empty()) {
    ssize_t count = write(file, data.data(), data.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return false;
    data.remove_prefix(size_t(count));
  }
  return true;
}

Status writeFileAtomically(const std::string &path, const std::vector<std::string_view> &parts) {
  // Renaming over a device or a pipe would replace it.
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    return Status(Code::IoError, "cannot write '" + path + "': it is not a regular file");
  // A random name: one with the process id in it may be left over from a
  // process that was killed, and containers use the same few ids again.
  std::string temporary = path + ".tmp.XXXXXX";
  int file = mkostemp(temporary.data(), O_CLOEXEC);
  if (file < 0)
    return systemError("write", path);
  bool written = fchmod(file, 0644) == 0;
  for (std::string_view part : parts)
    written = written && writeAll(file, part);
  written = written && fsync(file) == 0;
  Status status = written ? Status() : systemError("write", path);
  close(file);
  if (status.ok() && std::rename(temporary.c_str(), path.c_str()) != 0)
    status = systemError("write", path);
  if (!status.ok())
    unlink(temporary.c_str());
  return status;
}

} // namespace fresnel::rt

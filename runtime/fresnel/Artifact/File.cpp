//===- File.cpp - Whole-file reads and all-or-nothing writes
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/File.h"
#include <cerrno>
#include <cstdio>
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
  while ((count = read(file, buffer, sizeof buffer)) > 0)
    content.append(buffer, size_t(count));
  Status status = count < 0 ? systemError("read", path) : Status();
  close(file);
  if (!status.ok())
    return status;
  return content;
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
  std::string temporary = path + ".tmp." + std::to_string(getpid());
  int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0)
    return systemError("write", path);
  bool written = true;
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

//===- File.cpp - Whole-file reads, all-or-nothing writes, folders
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/File.h"
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <random>
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
  struct stat info = {};
  // A device such as /dev/zero has no end.
  bool folder = fstat(file, &info) == 0 && S_ISDIR(info.st_mode);
  if (folder || S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)) {
    close(file);
    return Status(Code::IoError, "cannot read '" + path + "': it is a " + (folder ? "directory" : "device"));
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

static bool writeParts(int file, const std::vector<std::string_view> &parts) {
  bool written = fchmod(file, 0644) == 0;
  for (std::string_view part : parts)
    written = written && writeAll(file, part);
  return written && fsync(file) == 0;
}

/// Opens a file in the folder of `path` that has no name, of which nothing stays if the process is ended; -1 where the
/// file system has none.
static int openNameless(const std::string &path) {
  size_t end = path.rfind('/');
  std::string folder = end == std::string::npos ? "." : path.substr(0, end + 1);
  return open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
}

/// Gives a file without a name one beside `path`, or "" if that cannot be done.
static std::string nameBeside(const std::string &path, int file) {
  std::string link = "/proc/self/fd/" + std::to_string(file);
  std::random_device random;
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::string name = path + ".tmp." + std::to_string(random());
    if (linkat(AT_FDCWD, link.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0)
      return name;
    if (errno != EEXIST)
      break;
  }
  return "";
}

/// Writes the parts to a new file beside `path`, synced, and returns its name.
static Expected<std::string> writeAside(const std::string &path, const std::vector<std::string_view> &parts) {
  if (int file = openNameless(path); file >= 0) {
    bool written = writeParts(file, parts);
    Status status = written ? Status() : systemError("write", path);
    std::string name = written ? nameBeside(path, file) : "";
    close(file);
    if (!status.ok())
      return status;
    if (!name.empty())
      return name;
  }
  // A random name: one with the process id in it may be left over from a
  // process that was killed, and containers use the same few ids again.
  std::string temporary = path + ".tmp.XXXXXX";
  int file = mkostemp(temporary.data(), O_CLOEXEC);
  if (file < 0)
    return systemError("write", path);
  Status status = writeParts(file, parts) ? Status() : systemError("write", path);
  close(file);
  if (status.ok())
    return temporary;
  unlink(temporary.c_str());
  return status;
}

Status writeFileAtomically(const std::string &path, const std::vector<std::string_view> &parts) {
  // Renaming over a device or a pipe would replace it.
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    return Status(Code::IoError, "cannot write '" + path + "': it is not a regular file");
  Expected<std::string> temporary = writeAside(path, parts);
  if (!temporary)
    return temporary.status();
  if (std::rename(temporary->c_str(), path.c_str()) == 0)
    return Status();
  Status status = systemError("write", path);
  unlink(temporary->c_str());
  return status;
}

Status publishFile(const std::string &path, const std::vector<std::string_view> &parts) {
  Expected<std::string> temporary = writeAside(path, parts);
  if (!temporary)
    return temporary.status();
  bool linked = link(temporary->c_str(), path.c_str()) == 0 || errno == EEXIST;
  int error = errno;
  // A network file system may lose the answer to a link that it made, which the
  // count of links tells.
  struct stat info;
  linked = linked || (stat(temporary->c_str(), &info) == 0 && info.st_nlink == 2);
  // Some file systems have no links.
  bool renamed = !linked && (error == EPERM || error == ENOTSUP) && std::rename(temporary->c_str(), path.c_str()) == 0;
  if (!renamed)
    unlink(temporary->c_str());
  errno = error;
  return linked || renamed ? Status() : systemError("write", path);
}

std::string userFolder() {
  // The XDG specification ignores paths that are not absolute.
  if (const char *cache = std::getenv("XDG_CACHE_HOME"); cache && *cache == '/')
    return std::string(cache) + "/fresnel";
  const char *home = std::getenv("HOME");
  return home && *home ? std::string(home) + "/.cache/fresnel" : "";
}

Status makeFolders(const std::string &path) {
  for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    std::string part = path.substr(0, at);
    if (mkdir(part.c_str(), 0700) != 0 && errno != EEXIST && errno != EISDIR)
      return systemError("create the folder", part);
    if (at == std::string::npos)
      break;
  }
  struct stat info;
  if (stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
    return Status(Code::IoError, "'" + path + "' is not a folder");
  return Status();
}

} // namespace fresnel::rt

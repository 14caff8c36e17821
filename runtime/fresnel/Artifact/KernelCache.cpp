//===- KernelCache.cpp - Compiled kernels on disk, found by what they were made from
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/KernelCache.h"
#include "fresnel/Artifact/File.h"
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fresnel::rt {

static constexpr const char *kFolder = "/kernels/bundles";
static constexpr const char *kSuffix = ".fkb";
static constexpr const char *kLockSuffix = ".lock";

std::string KernelCache::defaultFolder() {
  const char *chosen = std::getenv("FRESNEL_CACHE_DIR");
  return chosen && *chosen ? chosen : userFolder();
}

//===----------------------------------------------------------------------===//
// Who may write
//===----------------------------------------------------------------------===//

static Status checkOwner(const std::string &folder) {
  auto refuse = [&](const std::string &why, const std::string &remedy = "") {
    return Status(Code::IoError, "the cache folder '" + folder + "' is refused: " + why +
                                     ", and kernels that others wrote would be run; " + remedy +
                                     "set FRESNEL_CACHE_DIR to a folder of your own");
  };
  struct stat info;
  if (lstat(folder.c_str(), &info) != 0)
    return Status(Code::IoError, "cannot read the cache folder '" + folder + "': " + std::strerror(errno));
  if (S_ISLNK(info.st_mode))
    return refuse("it is a link");
  if (info.st_uid != geteuid())
    return refuse("it belongs to user " + std::to_string(info.st_uid));
  if (info.st_mode & (S_IWGRP | S_IWOTH))
    return refuse(std::string("its ") + (info.st_mode & S_IWOTH ? "mode lets everybody" : "mode lets its group") +
                      " write to it",
                  "run `chmod go-w " + folder + "`, or ");
  return Status();
}

Expected<KernelCache> KernelCache::open(const std::string &folder) {
  if (folder.empty())
    return Status(Code::IoError, "there is no place for a kernel cache: HOME is not set; set FRESNEL_CACHE_DIR");
  for (const std::string &path : {folder, folder + "/kernels"}) {
    Status status = makeFolders(path);
    if (!status.ok())
      return Status(status.code(), "the cache folder '" + path + "' cannot be made: " + status.message() +
                                       "; set FRESNEL_CACHE_DIR to a folder of your own");
    // On a disk that is full or read-only the folder is there and fine to read.
    status = checkOwner(path);
    if (!status.ok())
      return status;
  }
  return KernelCache(folder);
}

//===----------------------------------------------------------------------===//
// Entries
//===----------------------------------------------------------------------===//

std::string KernelCache::pathOf(const std::string &key) const {
  return root + kFolder + "/" + key.substr(0, 2) + "/" + key + kSuffix;
}

Expected<std::optional<std::string>> KernelCache::read(const std::string &key) const {
  std::string path = pathOf(key);
  if (access(path.c_str(), F_OK) != 0)
    return std::optional<std::string>();
  Expected<std::string> content = readFile(path);
  // It may have been cleaned away meanwhile.
  if (!content && access(path.c_str(), F_OK) != 0)
    return std::optional<std::string>();
  if (!content)
    return content.status();
  return std::optional<std::string>(std::move(*content));
}

Status KernelCache::publish(const std::string &key, const std::vector<std::string_view> &parts) const {
  std::string path = pathOf(key);
  Status status = makeFolders(path.substr(0, path.rfind('/')));
  return status.ok() ? publishFile(path, parts) : status;
}

void KernelCache::remove(const std::string &key) const { unlink(pathOf(key).c_str()); }

//===----------------------------------------------------------------------===//
// Locks
//===----------------------------------------------------------------------===//

CacheLock::CacheLock(CacheLock &&other) noexcept : file(std::exchange(other.file, -1)), path(std::move(other.path)) {}

CacheLock &CacheLock::operator=(CacheLock &&other) noexcept {
  std::swap(file, other.file);
  std::swap(path, other.path);
  return *this;
}

CacheLock::~CacheLock() {
  if (file < 0)
    return;
  // Before it is released, so that who waits for this file sees that it is gone.
  unlink(path.c_str());
  close(file);
}

CacheLock KernelCache::lock(const std::string &key) const {
  std::string path = pathOf(key);
  CacheLock lock;
  lock.path = path + kLockSuffix;
  if (!makeFolders(path.substr(0, path.rfind('/'))).ok())
    return lock;
  for (;;) {
    int file = ::open(lock.path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
      return lock;
    int error;
    do
      error = flock(file, LOCK_EX);
    while (error != 0 && errno == EINTR);
    struct stat held, named;
    // The one before removed the file that we waited for: its name is another's lock.
    bool current = error == 0 && fstat(file, &held) == 0 && stat(lock.path.c_str(), &named) == 0 &&
                   held.st_ino == named.st_ino && held.st_dev == named.st_dev;
    if (current) {
      lock.file = file;
      return lock;
    }
    close(file);
    if (error != 0)
      return lock;
  }
}

//===----------------------------------------------------------------------===//
// Housekeeping
//===----------------------------------------------------------------------===//

static bool endsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

/// Calls `visit(name, path)` for what a folder holds; a folder that is not there holds nothing.
template <typename Visit>
static Status visitFolder(const std::string &folder, Visit visit) {
  DIR *directory = opendir(folder.c_str());
  if (!directory)
    return errno == ENOENT ? Status()
                           : Status(Code::IoError, "cannot read the folder '" + folder + "': " + std::strerror(errno));
  while (dirent *entry = readdir(directory))
    if (entry->d_name[0] != '.')
      visit(std::string(entry->d_name), folder + "/" + entry->d_name);
  closedir(directory);
  return Status();
}

/// Calls `visit(name, path)` for every file of the cache.
template <typename Visit>
static Status visitFiles(const std::string &root, Visit visit) {
  std::vector<std::string> groups;
  Status status =
      visitFolder(root + kFolder, [&](const std::string &, const std::string &path) { groups.push_back(path); });
  for (size_t i = 0; status.ok() && i < groups.size(); ++i)
    status = visitFolder(groups[i], visit);
  return status;
}

Expected<std::vector<CacheEntry>> KernelCache::list() const {
  std::vector<CacheEntry> entries;
  Status status = visitFiles(root, [&](const std::string &name, const std::string &path) {
    struct stat info;
    if (endsWith(name, kSuffix) && stat(path.c_str(), &info) == 0)
      entries.push_back(
          {name.substr(0, name.size() - std::strlen(kSuffix)), path, int64_t(info.st_size), int64_t(info.st_mtime)});
  });
  if (!status.ok())
    return status;
  std::sort(entries.begin(), entries.end(), [](const CacheEntry &a, const CacheEntry &b) { return a.key < b.key; });
  return entries;
}

Expected<std::pair<size_t, int64_t>> KernelCache::clean(int64_t before) const {
  std::pair<size_t, int64_t> removed = {0, 0};
  // A temporary file that is older than a day has no writer any more.
  int64_t stale = std::time(nullptr) - 24 * 3600;
  Status status = visitFiles(root, [&](const std::string &name, const std::string &path) {
    struct stat info;
    bool entry = endsWith(name, kSuffix), temporary = name.find(".tmp.") != std::string::npos;
    if (stat(path.c_str(), &info) != 0 || !(entry || temporary) || info.st_mtime >= (entry ? before : stale) ||
        unlink(path.c_str()) != 0 || !entry)
      return;
    ++removed.first;
    removed.second += info.st_size;
  });
  if (!status.ok())
    return status;
  return removed;
}

} // namespace fresnel::rt

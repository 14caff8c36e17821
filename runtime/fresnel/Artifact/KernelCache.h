//===- KernelCache.h - Compiled kernels on disk, found by what they were made from
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A folder of immutable bundles, FOLDER/kernels/bundles/XX/KEY.fkb, where KEY is a
// SHA-256 over everything that decides the content and XX its first two digits.
// Any number of processes and threads may use it at once: files are published
// whole, readers take no lock, and a lock per key lets one of several that miss
// compile while the others wait for what it makes.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_ARTIFACT_KERNELCACHE_H
#define FRESNEL_ARTIFACT_KERNELCACHE_H

#include "fresnel/Artifact/Status.h"
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fresnel::rt {

struct CacheEntry {
  std::string key, path;
  int64_t bytes = 0;
  /// When it was made, in seconds since 1970.
  int64_t made = 0;
};

/// Held by the one that makes an entry; released with the object, and by the
/// system when its process dies.
class CacheLock {
public:
  CacheLock() = default;
  CacheLock(CacheLock &&other) noexcept;
  CacheLock &operator=(CacheLock &&other) noexcept;
  ~CacheLock();

private:
  friend class KernelCache;
  int file = -1;
  std::string path;
};

/// Immutable, hence thread-safe.
class KernelCache {
public:
  /// $FRESNEL_CACHE_DIR, else $XDG_CACHE_HOME/fresnel, else ~/.cache/fresnel; empty
  /// where there is no home.
  static std::string defaultFolder();

  /// Creates the folder if need be. What is read from it is run, so IoError if it
  /// is a link, belongs to another user, or may be written by one.
  static Expected<KernelCache> open(const std::string &folder);

  const std::string &folder() const { return root; }
  std::string pathOf(const std::string &key) const;

  /// The content of an entry; nothing on a miss. The caller checks the content.
  Expected<std::optional<std::string>> read(const std::string &key) const;
  /// Makes an entry; one that exists stays.
  Status publish(const std::string &key, const std::vector<std::string_view> &parts) const;
  /// Removes a damaged entry, or one that is to be made again.
  void remove(const std::string &key) const;

  /// Waits for the lock of a key. Look again once it is held: the one before may
  /// have made the entry. Where the file system has no locks it is not held, and
  /// two may make the same entry, which costs time only.
  CacheLock lock(const std::string &key) const;

  /// All entries, by key.
  Expected<std::vector<CacheEntry>> list() const;
  /// Removes the entries made before `before` and what killed processes left
  /// behind; returns how many entries, and how many bytes.
  Expected<std::pair<size_t, int64_t>> clean(int64_t before) const;

private:
  explicit KernelCache(std::string folder) : root(std::move(folder)) {}
  std::string root;
};

} // namespace fresnel::rt

#endif // FRESNEL_ARTIFACT_KERNELCACHE_H

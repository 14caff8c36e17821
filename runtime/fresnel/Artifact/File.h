//===- File.h - Whole-file reads, all-or-nothing writes, folders
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_ARTIFACT_FILE_H
#define FRESNEL_ARTIFACT_FILE_H

#include "fresnel/Artifact/Status.h"
#include <string>
#include <string_view>
#include <vector>

namespace fresnel::rt {

/// All of a file. IoError for what is not there, is a folder or cannot be read.
Expected<std::string> readFile(const std::string &path);

/// Whether JSON text has arrays and objects inside one another more than `limit`
/// deep. Ask before parsing: what walks the parsed value recurses.
bool isNestedDeeperThan(std::string_view json, int limit);

/// Writes the parts one after another to a temporary file beside `path`, syncs
/// it and renames it: afterwards `path` holds either all of it or what it held.
/// A path that exists and is not a regular file (a folder, a device) is refused.
Status writeFileAtomically(const std::string &path, const std::vector<std::string_view> &parts);

/// The same for a file that never changes again: one that exists already stays as it
/// is, so that what a reader has open is never replaced, on network file systems too.
Status publishFile(const std::string &path, const std::vector<std::string_view> &parts);

/// Where the user's files lie: $XDG_CACHE_HOME/fresnel, else ~/.cache/fresnel; empty where there is no home.
std::string userFolder();

/// Creates `path` and the folders above it, for the user only where they did not exist.
Status makeFolders(const std::string &path);

} // namespace fresnel::rt

#endif // FRESNEL_ARTIFACT_FILE_H

//===- File.h - Whole-file reads and all-or-nothing writes
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_ARTIFACT_FILE_H
#define FRESNEL_ARTIFACT_FILE_H

#include "fresnel/Artifact/Status.h"
#include <string>
#include <string_view>
#include <vector>

namespace fresnel::rt {

Expected<std::string> readFile(const std::string &path);

/// Writes the parts one after another to a temporary file beside `path`, syncs
/// it and renames it: afterwards `path` holds either all of it or what it held.
Status writeFileAtomically(const std::string &path, const std::vector<std::string_view> &parts);

} // namespace fresnel::rt

#endif // FRESNEL_ARTIFACT_FILE_H

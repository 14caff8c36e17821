//===- Bundle.h - The .fkb file: a manifest and its PTX
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Layout: "FKB\x01" | u32 length of the manifest | u64 length of the file |
// SHA-256 of the manifest | manifest JSON | PTX texts, each at a multiple of 64
// bytes with zeros between. Integers are little-endian. The manifest holds the
// SHA-256 of each PTX, so that every byte but the padding, which must be zero,
// is covered.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_ARTIFACT_BUNDLE_H
#define FRESNEL_ARTIFACT_BUNDLE_H

#include "fresnel/Artifact/Manifest.h"

namespace fresnel::rt {

struct Bundle {
  Manifest manifest;
  /// PTX of each kernel, in the manifest's order.
  std::vector<std::string> ptx;
};

/// Reads a bundle and checks every hash; a damaged, truncated or foreign file is
/// refused with the reason.
Expected<Bundle> readBundle(const std::string &path);
/// The same from memory; `name` appears in errors.
Expected<Bundle> parseBundle(const std::string &name, std::string_view content);

/// The content of a bundle file, with the places and hashes of the PTX texts filled
/// in; `name` appears in errors. What it returns can be parsed.
Expected<std::string> serializeBundle(const std::string &name, Manifest manifest, const std::vector<std::string> &ptx);
/// Writes a bundle file, all or nothing.
Status writeBundle(const std::string &path, Manifest manifest, const std::vector<std::string> &ptx);

/// SHA-256 in hexadecimal over all that decides what a launch does: target, code,
/// geometry, buffers and launches, of both plans. Names, versions of the compiler,
/// and how schedules were chosen are no part of it.
std::string digestOf(const Bundle &bundle);

} // namespace fresnel::rt

#endif // FRESNEL_ARTIFACT_BUNDLE_H

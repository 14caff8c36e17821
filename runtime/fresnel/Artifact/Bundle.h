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

/// Fills in the places and hashes of the PTX texts and writes all or nothing.
Status writeBundle(const std::string &path, Manifest manifest, const std::vector<std::string> &ptx);

} // namespace fresnel::rt

#endif // FRESNEL_ARTIFACT_BUNDLE_H

//===- Sha256.h - SHA-256 (FIPS 180-4)
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_ARTIFACT_SHA256_H
#define FRESNEL_ARTIFACT_SHA256_H

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace fresnel::rt {

using Digest = std::array<uint8_t, 32>;

/// FIPS 180-4. Thread-safe.
Digest sha256(std::string_view data);
/// 64 lower-case hexadecimal digits.
std::string toHex(const Digest &digest);

} // namespace fresnel::rt

#endif // FRESNEL_ARTIFACT_SHA256_H

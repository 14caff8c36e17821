//===- DType.h - Element types and their conversions
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_ARTIFACT_DTYPE_H
#define FRESNEL_ARTIFACT_DTYPE_H

#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace fresnel::rt {

enum class DType { F32, BF16, F16, I32, I8 };

/// Bytes of an element.
constexpr int64_t sizeOf(DType type) {
  return type == DType::F32 || type == DType::I32 ? 4 : type == DType::I8 ? 1 : 2;
}
/// Indices and masks rather than numbers: they have no order of heads and rows to swap, and no gradient.
constexpr bool isInteger(DType type) { return type == DType::I32 || type == DType::I8; }
/// "f32", "bf16", "f16", "i32", "i8".
const char *nameOf(DType type);
std::optional<DType> parseDType(std::string_view name);

/// Conversions of 16-bit floats; from f32 rounded to nearest, ties to even.
float fromBf16(uint16_t bits);
float fromF16(uint16_t bits);
uint16_t toBf16(float value);
uint16_t toF16(float value);

/// `count` floating-point elements at `source` widened to f32, and back.
void toFloat(const void *source, DType type, int64_t count, float *target);
void fromFloat(const float *source, DType type, int64_t count, void *target);

} // namespace fresnel::rt

#endif // FRESNEL_ARTIFACT_DTYPE_H

//===- DType.cpp - Element types and their conversions
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/DType.h"

namespace fresnel::rt {

const char *nameOf(DType type) {
  switch (type) {
  case DType::F32:
    return "f32";
  case DType::BF16:
    return "bf16";
  case DType::F16:
    return "f16";
  case DType::I32:
    return "i32";
  case DType::I8:
    return "i8";
  }
  return "?";
}

std::optional<DType> parseDType(std::string_view name) {
  for (DType type : {DType::F32, DType::BF16, DType::F16, DType::I32, DType::I8})
    if (name == nameOf(type))
      return type;
  return std::nullopt;
}

static uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

static float floatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

float fromBf16(uint16_t bits) { return floatOf(uint32_t(bits) << 16); }

uint16_t toBf16(float value) {
  uint32_t bits = bitsOf(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) // NaN: keep it quiet rather than rounding it to infinity
    return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7FFFu + (bits >> 16 & 1)) >> 16);
}

float fromF16(uint16_t bits) {
  uint32_t sign = uint32_t(bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 0x3FF;
  if (exponent == 31)
    return floatOf(sign | 0x7F800000u | mantissa << 13);
  if (exponent != 0)
    return floatOf(sign | (exponent + 112) << 23 | mantissa << 13);
  // Subnormal: the mantissa counts units of 2^-24, which f32 holds exactly.
  float magnitude = float(mantissa) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}

uint16_t toF16(float value) {
  uint32_t bits = bitsOf(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u)
    return uint16_t(sign | 0x7E00);
  if (magnitude >= 0x477FF000u) // rounds to 65536 or beyond
    return uint16_t(sign | 0x7C00);
  if (magnitude < 0x38800000u) { // below 2^-14: a multiple of 2^-24
    // Adding 0.5 puts the rounding where f32's last bit is 2^-24.
    float shifted = floatOf(magnitude) + 0.5f;
    return uint16_t(sign | (bitsOf(shifted) - bitsOf(0.5f)));
  }
  uint32_t rounded = magnitude + 0xFFFu + (magnitude >> 13 & 1);
  return uint16_t(sign | (rounded - (112u << 23)) >> 13);
}

void toFloat(const void *source, DType type, int64_t count, float *target) {
  if (type == DType::F32) {
    std::memcpy(target, source, size_t(count) * 4);
    return;
  }
  auto *bits = static_cast<const uint16_t *>(source);
  for (int64_t i = 0; i < count; ++i)
    target[i] = type == DType::BF16 ? fromBf16(bits[i]) : fromF16(bits[i]);
}

void fromFloat(const float *source, DType type, int64_t count, void *target) {
  if (type == DType::F32) {
    std::memcpy(target, source, size_t(count) * 4);
    return;
  }
  auto *bits = static_cast<uint16_t *>(target);
  for (int64_t i = 0; i < count; ++i)
    bits[i] = type == DType::BF16 ? toBf16(source[i]) : toF16(source[i]);
}

} // namespace fresnel::rt

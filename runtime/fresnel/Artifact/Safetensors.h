//===- Safetensors.h - The safetensors container
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Format: u64 length of the header | JSON header | data. The header maps names
// to {dtype, shape, data_offsets}, and `__metadata__` to strings.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_ARTIFACT_SAFETENSORS_H
#define FRESNEL_ARTIFACT_SAFETENSORS_H

#include "fresnel/Artifact/DType.h"
#include "fresnel/Artifact/Status.h"
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fresnel::rt {

struct NamedTensor {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  /// Row-major elements.
  std::string data;

  int64_t elements() const;
};

struct Safetensors {
  std::map<std::string, NamedTensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads F32, BF16, F16 and I32 tensors; damaged headers, ranges that overlap,
/// leave gaps or end beyond the file, and other dtypes are refused.
Expected<Safetensors> readSafetensors(const std::string &path);
Expected<Safetensors> parseSafetensors(const std::string &name, std::string_view content);

/// Writes all or nothing.
Status writeSafetensors(const std::string &path, const Safetensors &file);

} // namespace fresnel::rt

#endif // FRESNEL_ARTIFACT_SAFETENSORS_H

//===- FuzzSafetensors.cpp - Any bytes as a safetensors file
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "Fuzz.h"
#include "fresnel/Artifact/Safetensors.h"

using namespace fresnel::rt;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Expected<Safetensors> file = parseSafetensors("fuzz", {reinterpret_cast<const char *>(data), size});
  if (!file) {
    expect(!file.status().message().empty(), "a file is refused without a reason");
    return 0;
  }
  for (const auto &[name, tensor] : file->tensors)
    expect(tensor.data.size() == size_t(tensor.elements()) * size_t(sizeOf(tensor.dtype)),
           "a tensor's data is not its shape's");
  return 0;
}

//===- FuzzManifest.cpp - Any bytes as a manifest
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "Fuzz.h"
#include "fresnel/Artifact/Manifest.h"

using namespace fresnel::rt;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Expected<Manifest> manifest = parseManifest({reinterpret_cast<const char *>(data), size});
  if (!manifest) {
    expect(!manifest.status().message().empty(), "a manifest is refused without a reason");
    return 0;
  }
  // What was read can be written, and reads as the same.
  std::string text = toJson(*manifest);
  Expected<Manifest> again = parseManifest(text);
  expect(bool(again) && toJson(*again) == text, "a manifest does not survive the round trip");
  return 0;
}

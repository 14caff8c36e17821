//===- FuzzBundle.cpp - Any bytes as a bundle
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "Fuzz.h"
#include "fresnel/Artifact/Bundle.h"

using namespace fresnel::rt;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Expected<Bundle> bundle = parseBundle("fuzz", {reinterpret_cast<const char *>(data), size});
  if (!bundle) {
    expect(!bundle.status().message().empty(), "a bundle is refused without a reason");
    return 0;
  }
  expect(bundle->ptx.size() == bundle->manifest.kernels.size(), "a kernel has no PTX");
  expect(digestOf(*bundle).size() == 64, "a bundle has no digest");
  Expected<std::string> written = serializeBundle("fuzz", bundle->manifest, bundle->ptx);
  expect(bool(written) && parseBundle("again", *written).status().ok(), "a bundle cannot be written");
  return 0;
}

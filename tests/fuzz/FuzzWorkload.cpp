//===- FuzzWorkload.cpp - Any bytes as a line of a workload
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "Fuzz.h"
#include "fresnel/Tuning/Workload.h"

using namespace fresnel::rt;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Expected<Workload> workload = parseWorkload({reinterpret_cast<const char *>(data), size});
  if (!workload)
    return 0;
  std::string text = toJson(*workload);
  Expected<Workload> again = parseWorkload(text);
  expect(bool(again) && toJson(*again) == text, "a workload does not survive the round trip");
  return 0;
}

//===- main.cpp - Uses the installed runtime without LLVM -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/Bundle.h"
#include "fresnel/Runtime/Plan.h"
#include <cstdio>

int main() {
  auto bundle = fresnel::rt::parseBundle("empty.fkb", "");
  if (bundle || bundle.status().code() != fresnel::rt::Code::Integrity)
    return 1;
  // Starting without a GPU is part of the promise: the driver is loaded by name.
  auto driver = fresnel::rt::Driver::load();
  std::printf("%s; driver: %s\n", bundle.status().message().c_str(), driver ? "found" : "none");
  return 0;
}

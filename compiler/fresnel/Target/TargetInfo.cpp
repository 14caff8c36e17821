//===- TargetInfo.cpp - The table of targets ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Target/TargetInfo.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"

using namespace fresnel;

llvm::ArrayRef<TargetInfo> fresnel::getTargets() {
  static const llvm::SmallVector<TargetInfo> targets = [] {
    llvm::SmallVector<TargetInfo> all;
    for (llvm::ArrayRef<TargetInfo> family : {getSm80Targets(), getSm90Targets(), getSm100Targets()})
      llvm::append_range(all, family);
    return all;
  }();
  return targets;
}

llvm::Expected<TargetInfo> fresnel::findTarget(llvm::StringRef name) {
  for (const TargetInfo &target : getTargets())
    if (target.name == name)
      return target;
  auto names = llvm::map_range(getTargets(), [](const TargetInfo &target) { return target.name; });
  return llvm::createStringError("unknown target '" + name.str() + "'; one of " + llvm::join(names, ", ") +
                                 " is expected");
}

bool fresnel::runsOn(const TargetInfo &target, int compute) {
  int needs = target.computeMajor * 10 + target.computeMinor;
  return target.archSpecific ? needs == compute : needs <= compute;
}

const TargetInfo *fresnel::bestTarget(int compute) {
  const TargetInfo *best = nullptr;
  for (const TargetInfo &target : getTargets())
    if (runsOn(target, compute))
      best = &target;
  return best;
}

// RUN: not fresnel-opt %s --fresnel-outline-kernels 2>&1 | FileCheck %s

// CHECK: error: a module needs exactly one program that is not a kernel
fresnel.program @a(%q: tensor<1x2x64x32xbf16>) {
  fresnel.return {names = []}
}
fresnel.program @b(%q: tensor<1x2x64x32xbf16>) {
  fresnel.return {names = []}
}

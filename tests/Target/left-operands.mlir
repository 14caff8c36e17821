// No left operand of wgmma that lies in registers for a whole loop loses them to another one.
// REQUIRES: ptxas, nvdisasm
// DEFINE: %{check} = %python %tests/gpu/left_operands.py --fresnel %fresnel --ptxas %ptxas --nvdisasm %nvdisasm
// RUN: %{check} %s --grad | FileCheck %s
// RUN: %{check} moba_documents --grad --set head_dim=64 --set seq_len=3000 | FileCheck %s
// RUN: %{check} moba_documents --grad --set head_dim=128 --set seq_len=8192 --set block=256 | FileCheck %s
// RUN: %{check} moba --grad --set head_dim=64 --set seq_len=3000 | FileCheck %s
// RUN: %{check} moba --grad --set head_dim=128 --set seq_len=3000 | FileCheck %s
// RUN: %{check} nsa_documents --grad --set head_dim=64 --set seq_len=3000 | FileCheck %s
// RUN: %{check} nsa --grad --set head_dim=128 --set seq_len=3000 | FileCheck %s
// RUN: %{check} vsa --grad --set head_dim=64 --set seq_len=4096 | FileCheck %s
// RUN: %{check} dense --grad --set head_dim=128 --set seq_len=4096 | FileCheck %s
// RUN: %{check} dense --set head_dim=128 --set seq_len=16384 --set causal=false | FileCheck %s

// CHECK: {{^}}ok
// CHECK-NOT: FAIL

// One loop walks all steps.
fresnel.program @window_of_blocks(%q: tensor<1x4x1000x64xbf16>, %k: tensor<1x2x1000x64xbf16>, %v: tensor<1x2x1000x64xbf16>,
                                  %list: tensor<1x4x16x5xi32>) {
  %out, %lse = fresnel.attend %q, %k, %v blocks(%list : tensor<1x4x16x5xi32>)
      {causal = true, window = 300, sinks = 4, query_block = 64, key_block = 64}
      : tensor<1x4x1000x64xbf16>, tensor<1x2x1000x64xbf16>, tensor<1x2x1000x64xbf16>
  fresnel.return %out {names = ["out"]} : tensor<1x4x1000x64xbf16>
}

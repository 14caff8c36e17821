// With early = 32 ptxas leaves the exponentials of 32 keys, 16 a thread, in front of the wait for the product with V: in
// the loop over blocks, and where one tile leads to the next.
// REQUIRES: ptxas, nvdisasm
// DEFINE: %{count} = %python %tests/gpu/early_weights.py --fresnel %fresnel --ptxas %ptxas --nvdisasm %nvdisasm
// DEFINE: %{dense} = dense --no-db --set head_dim=128 --set seq_len=16384 --set heads=16
// RUN: %{count} %{dense} --schedule early=0 | FileCheck %s --check-prefix=NONE
// RUN: %{count} %{dense} --schedule early=32 | FileCheck %s --check-prefix=EARLY

// NONE: attend_0: {{[0-3] [0-3]}} exponentials before the wait
// EARLY: attend_0: {{1[6-9]|2[0-3]}} {{1[6-9]|2[0-3]}} exponentials before the wait

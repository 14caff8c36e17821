// With early = 32 ptxas leaves the exponentials of 32 keys, 16 a thread, in front of the wait for the product with V: in
// the loop over blocks, and where one tile leads to the next.
// REQUIRES: ptxas, nvdisasm
// DEFINE: %{count} = %python %tests/gpu/early_weights.py --fresnel %fresnel --ptxas %ptxas --nvdisasm %nvdisasm
// DEFINE: %{sizes} = --no-db --set head_dim=128 --set seq_len=16384 --set heads=16
// RUN: %{count} dense %{sizes} --schedule early=0 | FileCheck %s --check-prefix=NONE
// RUN: %{count} dense %{sizes} --schedule early=32 | FileCheck %s --check-prefix=EARLY
// The same where a window or documents hide keys on the left; between the tiles of documents nothing is weighed early.
// RUN: %{count} window %{sizes} --set window=4096 --schedule early=32 | FileCheck %s --check-prefix=WINDOW
// RUN: %{count} documents %{sizes} --set documents=16 --schedule early=32 | FileCheck %s --check-prefix=DOCUMENTS

// NONE: attend_0: {{[0-3] [0-3]}} exponentials before the wait
// EARLY: attend_0: {{1[6-9]|2[0-3]}} {{1[6-9]|2[0-3]}} exponentials before the wait
// WINDOW: attend_0: {{1[6-9]|2[0-3]}} {{1[6-9]|2[0-3]}} {{1[6-9]|2[0-3]}} exponentials before the wait
// DOCUMENTS: attend_1: {{1[6-9]|2[0-3]}} {{1[6-9]|2[0-3]}} {{[0-3]}} exponentials before the wait

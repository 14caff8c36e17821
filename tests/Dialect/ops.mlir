// Every operation of the fresnel dialect round-trips; these are the examples of its documentation.
// RUN: fresnel-opt %s | fresnel-opt | FileCheck %s
// RUN: fresnel-opt %s --mlir-print-op-generic | fresnel-opt | FileCheck %s

// CHECK-LABEL: fresnel.program @dense(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>, %v: tensor<1x2x64x32xbf16>)
fresnel.program @dense(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>, %v: tensor<1x2x64x32xbf16>) {
  // CHECK: fresnel.attend %q, %k, %v {causal = true}
  %out, %lse = fresnel.attend %q, %k, %v {causal = true}
      : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  // CHECK: fresnel.return %{{.*}}, %{{.*}} {names = ["out", "lse"]} : tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>
  fresnel.return %out, %lse {names = ["out", "lse"]} : tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>
}

// CHECK-LABEL: fresnel.program @pooling
fresnel.program @pooling(%x: tensor<1x2x1000x32xbf16>) {
  // CHECK: fresnel.pool mean %x {window = 64 : i64}
  %a = fresnel.pool mean %x {window = 64} : tensor<1x2x1000x32xbf16>
  // CHECK: fresnel.pool max %x {stride = 16 : i64, tail = #fresnel<tail drop>, window = 32 : i64}
  %b = fresnel.pool max %x {window = 32, stride = 16, tail = #fresnel<tail drop>} : tensor<1x2x1000x32xbf16>
  // CHECK: fresnel.pyramid mean %x
  %p = fresnel.pyramid mean %x {levels = 3, factor = 4} : tensor<1x2x1000x32xbf16>
  // CHECK: fresnel.norm %x
  %s = fresnel.norm %x : tensor<1x2x1000x32xbf16>
  // CHECK: fresnel.pyramid max
  %ps = fresnel.pyramid max %s {levels = 3, factor = 4} : tensor<1x2x1000xf32>
  // CHECK: fresnel.unpool
  %u = fresnel.unpool %a {window = 64, seq_len = 1000} : tensor<1x2x16x32xbf16>
  // CHECK: tensor<1x2x16x32xbf16>, tensor<1x2x61x32xbf16>, tensor<1x2x1313x32xbf16>, tensor<1x2x1000xf32>, tensor<1x2x1313xf32>, tensor<1x2x1000x32xbf16>
  fresnel.return %a, %b, %p, %s, %ps, %u {names = ["a", "b", "p", "s", "ps", "u"]}
    : tensor<1x2x16x32xbf16>, tensor<1x2x61x32xbf16>, tensor<1x2x1313x32xbf16>, tensor<1x2x1000xf32>, tensor<1x2x1313xf32>, tensor<1x2x1000x32xbf16>
}

// CHECK-LABEL: fresnel.program @cascade
fresnel.program @cascade(%x: tensor<1x2x1313x32xbf16>, %s: tensor<1x2x1313xf32>) {
  // CHECK: fresnel.select_cascade
  %i = fresnel.select_cascade %s, %s {seq_len = 1000, levels = 3, factor = 4, topk = 128}
      : tensor<1x2x1313xf32>, tensor<1x2x1313xf32>
  // However many are asked for, no more than all are selected: 63 + 252 + 1008.
  // CHECK: fresnel.select_cascade {{.*}}topk = 9223372036854775807
  // CHECK: fresnel.gather %x, %{{.*}} : tensor<1x2x1313x32xbf16>, tensor<1x2x1323xi32>
  %all = fresnel.select_cascade %s, %s {seq_len = 1000, levels = 3, factor = 4, topk = 9223372036854775807}
      : tensor<1x2x1313xf32>, tensor<1x2x1313xf32>
  %whole = fresnel.gather %x, %all : tensor<1x2x1313x32xbf16>, tensor<1x2x1323xi32>
  // CHECK: fresnel.gather %x, %{{.*}} : tensor<1x2x1313x32xbf16>, tensor<1x2x827xi32>
  %g = fresnel.gather %x, %i : tensor<1x2x1313x32xbf16>, tensor<1x2x827xi32>
  // CHECK: fresnel.scatter
  %y = fresnel.scatter %g, %i {seq_len = 1000, levels = 3, factor = 4} : tensor<1x2x827x32xbf16>, tensor<1x2x827xi32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x32xbf16>
}

// CHECK-LABEL: fresnel.program @dilation
fresnel.program @dilation(%x: tensor<1x2x1001x32xbf16>, %i: tensor<1x1x9xi32>) {
  // CHECK: fresnel.fold %x {factor = 4 : i64} : tensor<1x2x1001x32xbf16>
  %f = fresnel.fold %x {factor = 4} : tensor<1x2x1001x32xbf16>
  // CHECK: fresnel.norm %{{.*}} : tensor<1x8x251x32xbf16>
  %n = fresnel.norm %f : tensor<1x8x251x32xbf16>
  // CHECK: fresnel.unfold %{{.*}} {factor = 4 : i64, seq_len = 1001 : i64} : tensor<1x8x251xf32>
  %s = fresnel.unfold %n {factor = 4, seq_len = 1001} : tensor<1x8x251xf32>
  // Each key head once for each of three query heads.
  // CHECK: fresnel.fold %x {factor = 4 : i64, repeat = 3 : i64} : tensor<1x2x1001x32xbf16>
  %r = fresnel.fold %x {factor = 4, repeat = 3} : tensor<1x2x1001x32xbf16>
  // CHECK: fresnel.unfold %{{.*}} {factor = 4 : i64, repeat = 3 : i64, seq_len = 1001 : i64} : tensor<1x24x251x32xbf16>
  %u = fresnel.unfold %r {factor = 4, seq_len = 1001, repeat = 3} : tensor<1x24x251x32xbf16>
  // One list of rows for the heads of x.
  // CHECK: fresnel.gather %{{.*}}, %{{.*}} : tensor<1x2x1001x32xbf16>, tensor<1x1x9xi32>
  %g = fresnel.gather %u, %i : tensor<1x2x1001x32xbf16>, tensor<1x1x9xi32>
  // CHECK: fresnel.scatter %{{.*}} : tensor<1x2x9x32xbf16>, tensor<1x1x9xi32>
  %z = fresnel.scatter %g, %i {seq_len = 1001, levels = 3, factor = 4} : tensor<1x2x9x32xbf16>, tensor<1x1x9xi32>
  // CHECK: fresnel.fold %{{.*}} {factor = 3 : i64} : tensor<1x2x1001xf32>
  %t = fresnel.fold %s {factor = 3} : tensor<1x2x1001xf32>
  // CHECK: fresnel.unfold %{{.*}} {factor = 4 : i64, seq_len = 1001 : i64} : tensor<1x8x251x32xbf16>
  %y = fresnel.unfold %f {factor = 4, seq_len = 1001} : tensor<1x8x251x32xbf16>
  // CHECK: tensor<1x2x1001xf32>, tensor<1x6x334xf32>, tensor<1x2x1001x32xbf16>
  fresnel.return %s, %t, %y {names = ["s", "t", "y"]} : tensor<1x2x1001xf32>, tensor<1x6x334xf32>, tensor<1x2x1001x32xbf16>
}

// CHECK-LABEL: fresnel.program @blocks
fresnel.program @blocks(%q: tensor<1x4x1000x32xbf16>, %k: tensor<1x2x1000x32xbf16>, %g: tensor<1x4x1000x2xbf16>, %lse: tensor<1x4x1000xf32>) {
  %kb = fresnel.pool mean %k {window = 64} : tensor<1x2x1000x32xbf16>
  // CHECK: fresnel.block_score
  %s = fresnel.block_score %q, %kb {causal = true, key_window = 64, key_stride = 64}
      : tensor<1x4x1000x32xbf16>, tensor<1x2x16x32xbf16>
  // CHECK: fresnel.block_score {{.*}}group_sum = true{{.*}}normalize = #fresnel<normalize softmax>
  %t = fresnel.block_score %q, %kb {normalize = #fresnel<normalize softmax>, group_sum = true}
      : tensor<1x4x1000x32xbf16>, tensor<1x2x16x32xbf16>
  // CHECK: fresnel.block_score {{.*}} lse(%lse : tensor<1x4x1000xf32>) {normalize = #fresnel<normalize softmax>}
  %u = fresnel.block_score %q, %kb lse(%lse : tensor<1x4x1000xf32>) {normalize = #fresnel<normalize softmax>}
      : tensor<1x4x1000x32xbf16>, tensor<1x2x16x32xbf16>
  // CHECK: fresnel.regroup
  %r = fresnel.regroup %t {window = 64, stride = 64, block = 128, seq_len = 1000} : tensor<1x2x1000x16xf32>
  // CHECK: fresnel.select_blocks
  %i = fresnel.select_blocks %s {topk = 4, local = 1, causal = true, key_block = 64} : tensor<1x4x1000x16xf32>
  // CHECK: fresnel.attend %q, %k, %k blocks(%{{.*}} : tensor<1x4x1000x4xi32>)
  %o, %l = fresnel.attend %q, %k, %k blocks(%i : tensor<1x4x1000x4xi32>) {causal = true, key_block = 64}
      : tensor<1x4x1000x32xbf16>, tensor<1x2x1000x32xbf16>, tensor<1x2x1000x32xbf16>
  // CHECK: fresnel.merge %{{.*}}, %{{.*}} lse %{{.*}}, %{{.*}} :
  %m, %ml = fresnel.merge %o, %o lse %l, %l
      : tensor<1x4x1000x32xbf16>, tensor<1x4x1000x32xbf16> lse tensor<1x4x1000xf32>, tensor<1x4x1000xf32>
  // CHECK: fresnel.gate %{{.*}}, %{{.*}} by %g {activation = #fresnel<activation sigmoid>}
  %y = fresnel.gate %o, %m by %g {activation = #fresnel<activation sigmoid>}
      : tensor<1x4x1000x32xbf16>, tensor<1x4x1000x32xbf16> by tensor<1x4x1000x2xbf16>
  fresnel.return %y, %r, %ml {names = ["y", "r", "l"]}
    : tensor<1x4x1000x32xbf16>, tensor<1x2x1000x8xf32>, tensor<1x4x1000xf32>
}

// CHECK-LABEL: fresnel.program @documents
fresnel.program @documents(%q: tensor<2x4x64x32xbf16>, %k: tensor<2x2x64x32xbf16>, %cu: tensor<1x1x5xi32>) {
  // CHECK: %[[BOUNDS:.*]] = fresnel.document_bounds %cu {seq_len = 64 : i64} : tensor<1x1x5xi32>
  %b = fresnel.document_bounds %cu {seq_len = 64} : tensor<1x1x5xi32>
  %s = fresnel.block_score %q, %k {causal = true} : tensor<2x4x64x32xbf16>, tensor<2x2x64x32xbf16>
  // CHECK: fresnel.select_blocks %{{.*}} documents(%[[BOUNDS]] : tensor<1x2x64xi32>) {
  %i = fresnel.select_blocks %s documents(%b : tensor<1x2x64xi32>) {topk = 2, local = 1, causal = true, key_block = 1} : tensor<2x4x64x64xf32>
  // CHECK: fresnel.attend %q, %k, %k blocks(%{{.*}} : tensor<2x4x64x2xi32>) documents(%[[BOUNDS]] : tensor<1x2x64xi32>) {causal = true, key_block = 16 : i64} :
  %p, %n = fresnel.attend %q, %k, %k blocks(%i : tensor<2x4x64x2xi32>) documents(%b : tensor<1x2x64xi32>) {causal = true, key_block = 16}
      : tensor<2x4x64x32xbf16>, tensor<2x2x64x32xbf16>, tensor<2x2x64x32xbf16>
  // CHECK: fresnel.attend %q, %k, %k documents(%[[BOUNDS]] : tensor<1x2x64xi32>) {causal = true, window = 9 : i64} :
  %o, %l = fresnel.attend %q, %k, %k documents(%b : tensor<1x2x64xi32>) {causal = true, window = 9}
      : tensor<2x4x64x32xbf16>, tensor<2x2x64x32xbf16>, tensor<2x2x64x32xbf16>
  fresnel.return %o {names = ["o"]} : tensor<2x4x64x32xbf16>
}

// CHECK-LABEL: fresnel.program @aligned
fresnel.program @aligned(%q: tensor<2x4x100x32xbf16>, %cu: tensor<1x1x3xi32>) {
  // CHECK: %[[BOUNDS:.*]], %{{.*}}, %[[TOKENS:.*]], %[[FROM:.*]], %[[TO:.*]] = fresnel.align_documents %cu {block = 64 : i64, seq_len = 100 : i64} : tensor<1x1x3xi32>
  %b, %c, %n, %f, %t = fresnel.align_documents %cu {seq_len = 100, block = 64} : tensor<1x1x3xi32>
  // CHECK: fresnel.move %q from %[[FROM]] to %[[TO]] : tensor<2x4x100x32xbf16>, tensor<1x1x320xi32>, tensor<1x1x100xi32>
  %x = fresnel.move %q from %f to %t : tensor<2x4x100x32xbf16>, tensor<1x1x320xi32>, tensor<1x1x100xi32>
  // CHECK: fresnel.pool mean %{{.*}} documents(%[[TOKENS]] : tensor<1x2x320xi32>) {window = 64 : i64} :
  %y = fresnel.pool mean %x documents(%n : tensor<1x2x320xi32>) {window = 64} : tensor<2x4x320x32xbf16>
  // CHECK: fresnel.attend %{{.*}} documents(%[[BOUNDS]] : tensor<1x2x320xi32>) {causal = true, key_stride = 64 : i64, key_window = 64 : i64} :
  %o, %l = fresnel.attend %x, %y, %y documents(%b : tensor<1x2x320xi32>) {causal = true, key_window = 64, key_stride = 64}
      : tensor<2x4x320x32xbf16>, tensor<2x4x5x32xbf16>, tensor<2x4x5x32xbf16>
  // CHECK: fresnel.block_score %{{.*}} lse(%{{.*}} : tensor<2x4x320xf32>) documents(%[[BOUNDS]] : tensor<1x2x320xi32>) {
  %s = fresnel.block_score %x, %y lse(%l : tensor<2x4x320xf32>) documents(%b : tensor<1x2x320xi32>)
      {causal = true, key_window = 64, key_stride = 64, normalize = #fresnel<normalize softmax>} : tensor<2x4x320x32xbf16>, tensor<2x4x5x32xbf16>
  // CHECK: fresnel.pool_grad mean %{{.*}} documents(%[[TOKENS]] : tensor<1x2x320xi32>) {
  %d = fresnel.pool_grad mean %y documents(%n : tensor<1x2x320xi32>) {window = 64, seq_len = 320} : tensor<2x4x5x32xbf16>
  // CHECK: fresnel.align_documents {block = 64 : i64, documents = array<i64: 60, 0, 68>, seq_len = 128 : i64}{{$}}
  %b2, %c2, %n2, %f2, %t2 = fresnel.align_documents {seq_len = 128, block = 64, documents = array<i64: 60, 0, 68>}
  // CHECK: fresnel.narrow_bounds %[[BOUNDS]] {window = 9 : i64} : tensor<1x2x320xi32>
  %w = fresnel.narrow_bounds %b {window = 9} : tensor<1x2x320xi32>
  fresnel.return %o, %s, %d {names = ["o", "s", "d"]} : tensor<2x4x320x32xbf16>, tensor<2x4x320x5xf32>, tensor<2x4x320x32xbf16>
}

// CHECK-LABEL: fresnel.program @mask
fresnel.program @mask(%mask: tensor<1x2x16x20xi8>) {
  // CHECK: fresnel.blocks_from_mask %mask : tensor<1x2x16x20xi8>
  %list = fresnel.blocks_from_mask %mask : tensor<1x2x16x20xi8>
  fresnel.return %list {names = ["list"]} : tensor<1x2x16x20xi32>
}

// CHECK-LABEL: fresnel.program @packed_pyramid
fresnel.program @packed_pyramid(%x: tensor<1x2x100x32xbf16>) {
  // CHECK: fresnel.norm
  %n = fresnel.norm %x : tensor<1x2x100x32xbf16>
  // CHECK: fresnel.pyramid max %{{.*}} {documents = array<i64: 41, 0, 59>, factor = 4 : i64, levels = 3 : i64} : tensor<1x2x100xf32>
  %s = fresnel.pyramid max %n {levels = 3, factor = 4, documents = array<i64: 41, 0, 59>} : tensor<1x2x100xf32>
  // No documents are not printed.
  // CHECK: fresnel.pyramid mean %x {factor = 4 : i64, levels = 3 : i64} :
  %p = fresnel.pyramid mean %x {levels = 3, factor = 4, documents = array<i64>} : tensor<1x2x100x32xbf16>
  // CHECK: fresnel.select_cascade %{{.*}} {documents = array<i64: 41, 0, 59>,
  %i = fresnel.select_cascade %s, %s {seq_len = 100, levels = 3, factor = 4, topk = 4, documents = array<i64: 41, 0, 59>}
      : tensor<1x2x133xf32>, tensor<1x2x133xf32>
  // CHECK: fresnel.document_bounds {documents = array<i64: 31, 0, 36>, seq_len = 67 : i64}{{$}}
  // CHECK: fresnel.scatter %{{.*}}, %{{.*}} {documents = array<i64: 41, 0, 59>,
  %b = fresnel.document_bounds {seq_len = 67, documents = array<i64: 31, 0, 36>}
  %y = fresnel.gather %p, %i : tensor<1x2x132x32xbf16>, tensor<1x2x67xi32>
  %o = fresnel.scatter %y, %i {seq_len = 100, levels = 3, factor = 4, documents = array<i64: 41, 0, 59>}
      : tensor<1x2x67x32xbf16>, tensor<1x2x67xi32>
  fresnel.return %o, %b {names = ["o", "b"]} : tensor<1x2x100x32xbf16>, tensor<1x2x67xi32>
}

// The skeleton of a warp-specialised attention kernel (head dim 128, full mask):
// one producer warpgroup that feeds K and V through a two-stage mbarrier ring
// with TMA, two consumer warpgroups with S = Q K^T from shared memory and
// O += P V with P in registers, register reallocation, and a TMA store.
//
// RUN: fresnel-translate --tile-to-ptx --target=sm_90a %s -o %t.ptx
// RUN: FileCheck %s < %t.ptx
// RUN: %if ptxas %{ ptxas -v -arch=sm_90a %t.ptx -o %t.cubin 2>&1 | FileCheck %s --check-prefix=PTXAS %}

// CHECK: .reqntid 384
// CHECK-DAG: setmaxnreg.dec.sync.aligned.u32 {{.*}}24
// CHECK-DAG: setmaxnreg.inc.sync.aligned.u32 {{.*}}240
// CHECK-DAG: cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint
// CHECK-DAG: wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {{.*}}, da, db, zero, 1, 1, 0, 0;
// CHECK-DAG: wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {{.*}}}, db, one, 1, 1, 1;
// CHECK-DAG: mbarrier.try_wait
// CHECK-DAG: stmatrix.sync.aligned
// CHECK-DAG: cp.async.bulk.tensor.4d.global.shared::cta
// CHECK-NOT: .local

// PTXAS-NOT: C75
// PTXAS: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
// PTXAS: Used 168 registers

!tile = !tile.shared<128x128xbf16, swizzled>
!ring = !tile.shared<2x128x128xbf16, swizzled>
!map = !tile.tensor_map<128, 64, bf16>
!omap = !tile.tensor_map<64, 64, bf16>
!acc = tensor<64x128xf32, #tile.acc>
!lhs = tensor<64x128xbf16, #tile.lhs>
!rows = tensor<64xf32, #tile.rows>

module {
tile.kernel @attend(%qmap: !map, %kmap: !map, %vmap: !map, %omap: !omap, %lse: !tile.global<1x8x8192xf32>)
    attributes {block = array<i32: 384, 1, 1>, grid = array<i32: 64, 8, 1>} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c2 = arith.constant 2 : i32
  %c3 = arith.constant 3 : i32
  %c64 = arith.constant 64 : i32
  %c128 = arith.constant 128 : i32
  %blocks = arith.constant 64 : i32
  %factor = arith.constant 0.12751743 : f32
  %q = tile.alloc : !tile
  %k = tile.alloc : !ring
  %v = tile.alloc : !ring
  %qfull = tile.alloc : !tile.barriers<1>
  %kfull = tile.alloc : !tile.barriers<2>
  %kempty = tile.alloc : !tile.barriers<2>
  %vfull = tile.alloc : !tile.barriers<2>
  %vempty = tile.alloc : !tile.barriers<2>
  %b = tile.id block_z
  %h = tile.id block_y
  %m = tile.id block_x
  %row = arith.muli %m, %c128 : i32
  %thread = tile.id thread
  %first = arith.cmpi eq, %thread, %c0 : i32
  scf.if %first {
    tile.mbarrier_init %qfull arrivals(1) : !tile.barriers<1>
    tile.mbarrier_init %kfull arrivals(1) : !tile.barriers<2>
    tile.mbarrier_init %vfull arrivals(1) : !tile.barriers<2>
    tile.mbarrier_init %kempty arrivals(2) : !tile.barriers<2>
    tile.mbarrier_init %vempty arrivals(2) fence : !tile.barriers<2>
  }
  tile.barrier
  tile.warp_specialize producer registers(24) {
    %warp = tile.id warp
    %w0 = arith.cmpi eq, %warp, %c0 : i32
    %elected = tile.elect
    %issues = arith.andi %w0, %elected : i1
    scf.if %issues {
      tile.mbarrier_expect %qfull[%c0] bytes(32768) : !tile.barriers<1>
      tile.tma_load %qmap[%b, %h, %row] to %q on %qfull[%c0] : !map, !tile, !tile.barriers<1>
      scf.for %i = %c0 to %blocks step %c1 : i32 {
        %slot = arith.andi %i, %c1 : i32
        %turn = arith.shrui %i, %c1 : i32
        %phase = arith.andi %turn, %c1 : i32
        %free = arith.xori %phase, %c1 : i32
        %krow = arith.muli %i, %c128 : i32
        tile.mbarrier_wait %kempty[%slot] parity(%free) : !tile.barriers<2>
        tile.mbarrier_expect %kfull[%slot] bytes(32768) : !tile.barriers<2>
        %kt = tile.slice %k[%slot] : !ring -> !tile
        tile.tma_load %kmap[%b, %h, %krow] to %kt on %kfull[%slot] evict_last : !map, !tile, !tile.barriers<2>
        tile.mbarrier_wait %vempty[%slot] parity(%free) : !tile.barriers<2>
        tile.mbarrier_expect %vfull[%slot] bytes(32768) : !tile.barriers<2>
        %vt = tile.slice %v[%slot] : !ring -> !tile
        tile.tma_load %vmap[%b, %h, %krow] to %vt on %vfull[%slot] evict_last : !map, !tile, !tile.barriers<2>
      }
    }
    tile.yield
  } consumer(2) registers(240) {
    %wg = tile.id warpgroup
    %consumer = arith.subi %wg, %c1 : i32
    %qrow = arith.muli %consumer, %c64 : i32
    %t128c = arith.constant 127 : i32
    %local = arith.andi %thread, %t128c : i32
    %leader = arith.cmpi eq, %local, %c0 : i32
    tile.mbarrier_wait %qfull[%c0] parity(%c0) : !tile.barriers<1>
    %zero = arith.constant dense<0.0> : !acc
    %ninf = arith.constant dense<0xFF800000> : !rows
    %lzero = arith.constant dense<0.0> : !rows
    %o, %max, %sum = scf.for %i = %c0 to %blocks step %c1
        iter_args(%acc = %zero, %mx = %ninf, %l = %lzero) -> (!acc, !rows, !rows) : i32 {
      %slot = arith.andi %i, %c1 : i32
      %turn = arith.shrui %i, %c1 : i32
      %phase = arith.andi %turn, %c1 : i32
      %kt = tile.slice %k[%slot] : !ring -> !tile
      %vt = tile.slice %v[%slot] : !ring -> !tile
      tile.mbarrier_wait %kfull[%slot] parity(%phase) : !tile.barriers<2>
      %s0 = tile.wgmma %q row(%qrow), %kt transposed : !tile, !tile -> !acc
      %s1 = tile.wgmma_wait 0, %s0 : !acc
      tile.mbarrier_arrive %kempty[%slot] if %leader : !tile.barriers<2>
      %f = tile.splat %factor : f32 -> !acc
      %s = arith.mulf %s1, %f fastmath<contract> : !acc
      %bm = tile.reduce max %s : !acc -> !rows
      %nm = arith.maxnumf %mx, %bm : !rows
      %d = arith.subf %mx, %nm fastmath<contract> : !rows
      %alpha = math.exp2 %d : !rows
      %nmb = tile.broadcast %nm : !rows -> !acc
      %sd = arith.subf %s, %nmb fastmath<contract> : !acc
      %p = math.exp2 %sd : !acc
      %ps = tile.reduce add partial %p : !acc -> !rows
      %la = arith.mulf %l, %alpha fastmath<contract> : !rows
      %nl = arith.addf %la, %ps fastmath<contract> : !rows
      %ab = tile.broadcast %alpha : !rows -> !acc
      %os = arith.mulf %acc, %ab fastmath<contract> : !acc
      %pl = tile.to_lhs %p : !acc -> !lhs
      tile.mbarrier_wait %vfull[%slot] parity(%phase) : !tile.barriers<2>
      %o0 = tile.wgmma %pl, %vt, %os : !acc : !lhs, !tile -> !acc
      %o1 = tile.wgmma_wait 0, %o0 : !acc
      tile.mbarrier_arrive %vempty[%slot] if %leader : !tile.barriers<2>
      scf.yield %o1, %nm, %nl : !acc, !rows, !rows
    }
    %total = tile.quad_reduce add %sum : !rows
    %one = arith.constant dense<1.0> : !rows
    %inverse = arith.divf %one, %total : !rows
    %ib = tile.broadcast %inverse : !rows -> !acc
    %out = arith.mulf %o, %ib : !acc
    tile.store_matrix %out, %q row(%qrow) : !acc, !tile
    tile.fence_async
    %id = arith.addi %consumer, %c1 : i32
    tile.barrier id(%id) threads(128)
    %orow = arith.addi %row, %qrow : i32
    scf.if %leader {
      tile.tma_store %q row(%qrow) to %omap[%b, %h, %orow] : !tile, !omap
      tile.tma_store_wait
    }
    %lg = math.log2 %total : !rows
    %lse2 = arith.addf %max, %lg : !rows
    %ln2 = arith.constant dense<0.6931471805599453> : !rows
    %lsev = arith.mulf %lse2, %ln2 : !rows
    tile.store_rows %lsev, %lse[%b, %h, %orow] : !rows, !tile.global<1x8x8192xf32>
    tile.yield
  }
  tile.return
}
}

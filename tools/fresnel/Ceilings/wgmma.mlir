// The rate of the matrix units: every block multiplies the same two tiles of shared memory again and again, two
// warpgroups in turn, 16 instructions of m64n256k16 in flight. BLOCKS and FLOPS are filled in.
!a = !tile.shared<128x128xbf16, swizzled>
!b = !tile.shared<256x128xbf16, swizzled>
!acc = tensor<64x256xf32, #tile.acc>
!mapa = !tile.tensor_map<128, 64, bf16>
!mapb = !tile.tensor_map<256, 64, bf16>
!out = !tile.global<1xBLOCKSx128x256xbf16>
!rowsa = tensor<1x1x128x128xbf16>
!rowsb = tensor<1x1x256x128xbf16>
!rows = tensor<1xBLOCKSx128x256xbf16>

tile.kernel @matrix_rate(%a: !mapa, %b: !mapb, %out: !out)
    attributes {block = array<i32: 256, 1, 1>, grid = array<i32: BLOCKS, 1, 1>, fresnel.op = "tile.wgmma",
                fresnel.cost = {bytes_read = 98304 : i64, bytes_written = 0 : i64, flops = FLOPS : i64, exact = true}} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c64 = arith.constant 64 : i32
  %rounds = arith.constant ROUNDS : i32
  %tile_a = tile.alloc : !a
  %tile_b = tile.alloc : !b
  %full = tile.alloc : !tile.barriers<1>
  %thread = tile.id thread
  %first = arith.cmpi eq, %thread, %c0 : i32
  scf.if %first {
    tile.mbarrier_init %full arrivals(2) fence : !tile.barriers<1>
  }
  tile.barrier
  scf.if %first {
    tile.mbarrier_expect %full[%c0] bytes(32768) : !tile.barriers<1>
    tile.tma_load %a[%c0, %c0, %c0] to %tile_a on %full[%c0] : !mapa, !a, !tile.barriers<1>
    tile.mbarrier_expect %full[%c0] bytes(65536) : !tile.barriers<1>
    tile.tma_load %b[%c0, %c0, %c0] to %tile_b on %full[%c0] : !mapb, !b, !tile.barriers<1>
  }
  tile.mbarrier_wait %full[%c0] parity(%c0) : !tile.barriers<1>
  %group = tile.id warpgroup
  %row = arith.muli %group, %c64 : i32
  %zero = arith.constant dense<0.0> : !acc
  %sum = scf.for %i = %c0 to %rounds step %c1 iter_args(%acc = %zero) -> (!acc) : i32 {
    %next = tile.wgmma %tile_a row(%row), %tile_b transposed, %acc : !acc : !a, !b -> !acc
    %done = tile.wgmma_wait 0, %next : !acc
    scf.yield %done : !acc
  }
  %block = tile.id block_x
  tile.store_tile %sum, %out[%c0, %block, %row] : !acc, !out
  tile.return
}

fresnel.program @matrix_rate_of_gpu(%a: !rowsa, %b: !rowsb) {
  %out = fresnel.launch @matrix_rate(%a, %b) {offsets = array<i64: -1>} : (!rowsa, !rowsb) -> !rows
  fresnel.return %out {names = ["out"]} : !rows
}

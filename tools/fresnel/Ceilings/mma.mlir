// The rate of the matrix units with mma.sync: every block multiplies registers with one tile of shared memory again
// and again, as the portable kernels do. BLOCKS, ROUNDS and FLOPS are filled in.
!view = !tile.global<1x1x128x64xbf16>
!tile = !tile.shared<128x64xbf16, padded>
!lhs = tensor<128x64xbf16, #tile.lhs>
!acc = tensor<128x128xf32, #tile.acc>
!out = !tile.global<1xBLOCKSx128x128xbf16>
!rowsa = tensor<1x1x128x64xbf16>
!rows = tensor<1xBLOCKSx128x128xbf16>

tile.kernel @matrix_rate(%a: !view, %b: !view, %out: !out)
    attributes {block = array<i32: 256, 1, 1>, grid = array<i32: BLOCKS, 1, 1>, fresnel.op = "tile.mma",
                fresnel.cost = {bytes_read = 32768 : i64, bytes_written = 0 : i64, flops = FLOPS : i64, exact = true}} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %rounds = arith.constant ROUNDS : i32
  %tile_a = tile.alloc : !tile
  %tile_b = tile.alloc : !tile
  tile.copy_async %a[%c0, %c0, %c0] to %tile_a : !view, !tile
  tile.copy_async %b[%c0, %c0, %c0] to %tile_b : !view, !tile
  tile.copy_commit
  tile.copy_wait 0
  tile.barrier
  %lhs = tile.load_lhs %tile_a : !tile -> !lhs
  %zero = arith.constant dense<0.0> : !acc
  %sum = scf.for %i = %c0 to %rounds step %c1 iter_args(%acc = %zero) -> (!acc) : i32 {
    %next = tile.mma %lhs, %tile_b transposed, %acc : !lhs, !tile, !acc
    scf.yield %next : !acc
  }
  %block = tile.id block_x
  tile.store_tile %sum, %out[%c0, %block, %c0] : !acc, !out
  tile.return
}

fresnel.program @matrix_rate_of_gpu(%a: !rowsa, %b: !rowsa) {
  %out = fresnel.launch @matrix_rate(%a, %b) {offsets = array<i64: -1>} : (!rowsa, !rowsa) -> !rows
  fresnel.return %out {names = ["out"]} : !rows
}

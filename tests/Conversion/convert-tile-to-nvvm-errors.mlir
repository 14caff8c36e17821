// RUN: fresnel-opt %s --split-input-file --verify-diagnostics --convert-tile-to-nvvm

// expected-error @+1 {{`fresnel.operands` has 1 entries, but the kernel has 2 arguments; name the operand of each}}
tile.kernel @operands(%wide: !tile.tensor_map<64, 64, bf16>, %narrow: !tile.tensor_map<4, 64, bf16, heads = 16>)
    attributes {block = array<i32: 64, 1, 1>, grid = array<i32: 1, 1, 1>, fresnel.operands = array<i64: 0>} {
  tile.return
}

// summary: attention over the key blocks that a mask allows
// paper: Block-sparse attention of any pattern, as in FlexAttention, arXiv 2412.05496
// param batch int 1 1 65535 : batch size
// param heads int 8 1 65535 : query heads
// param kv_heads int 8 1 65535 : key and value heads; they must divide heads
// param mask_heads int 0 0 65535 : heads of the mask, a divisor of heads and a multiple of kv_heads; 0 for heads
// param seq_len int 8192 1 16777216 : sequence length N
// param kv_len int 0 0 16777216 : key length, 0 for seq_len
// param head_dim int 128 1 1024 : head dim D
// param dtype choice bf16 bf16,f16,f32 : element type of q, k and v
// param query_block int 128 1 16777216 : queries of a row of the mask
// param key_block int 128 1 16777216 : keys of a column of the mask
// param causal bool false : of the blocks that the mask allows, a query sees keys up to its own position, aligned at the ends
// param softcap float 0 0 1e6 : scores s become c tanh(s / c); 0 turns it off
// param scale float 0 -1e6 1e6 : factor of q . k; 0 for 1/sqrt(head_dim)
// derive keys = or(kv_len, seq_len)
// derive masks = or(mask_heads, heads)
// derive rows = ceildiv(seq_len, query_block)
// derive blocks = ceildiv(keys, key_block)
// derive factor = scale(scale, head_dim)
!q = tensor<${batch}x${heads}x${seq_len}x${head_dim}x${dtype}>
!kv = tensor<${batch}x${kv_heads}x${keys}x${head_dim}x${dtype}>
!lse = tensor<${batch}x${heads}x${seq_len}xf32>
!mask = tensor<${batch}x${masks}x${rows}x${blocks}xi8>
!list = tensor<${batch}x${masks}x${rows}x${blocks}xi32>

fresnel.program @block_mask(%q: !q, %k: !kv, %v: !kv, %mask: !mask) {
  %list = fresnel.blocks_from_mask %mask : !mask
  %out, %lse = fresnel.attend %q, %k, %v blocks(%list : !list)
      {causal = ${causal}, query_block = ${query_block}, key_block = ${key_block}, softcap = ${softcap}, scale = ${factor}}
      : !q, !kv, !kv
  fresnel.return %out, %lse {names = ["out", "lse"]} : !q, !lse
}

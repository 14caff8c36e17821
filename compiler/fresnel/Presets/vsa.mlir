// summary: Video Sparse Attention: coarse attention on pooled cubes picks the blocks of the fine one
// paper: VSA, arXiv 2505.13389
// param batch int 1 1 65535 : batch size
// param heads int 8 1 65535 : query heads
// param kv_heads int 8 1 65535 : key and value heads; they must divide heads
// param seq_len int 8192 1 16777216 : sequence length N
// param head_dim int 128 1 1024 : head dim D
// param dtype choice bf16 bf16,f16,f32 : element type of the inputs
// param block int 64 1 65536 : tokens of a cube, in cube order
// param topk int 32 1 65536 : key cubes per query cube
// derive cubes = ceildiv(seq_len, block)
// derive picked = min(topk, cubes)
!q = tensor<${batch}x${heads}x${seq_len}x${head_dim}x${dtype}>
!kv = tensor<${batch}x${kv_heads}x${seq_len}x${head_dim}x${dtype}>
!lse = tensor<${batch}x${heads}x${seq_len}xf32>
!qc = tensor<${batch}x${heads}x${cubes}x${head_dim}x${dtype}>
!kc = tensor<${batch}x${kv_heads}x${cubes}x${head_dim}x${dtype}>
!scores = tensor<${batch}x${heads}x${cubes}x${cubes}xf32>
!list = tensor<${batch}x${heads}x${cubes}x${picked}xi32>
!gates = tensor<${batch}x${heads}x${seq_len}x2x${dtype}>

fresnel.program @vsa(%q: !q, %k: !kv, %v: !kv, %gates: !gates) {
  %qc = fresnel.pool mean %q {window = ${block}} : !q
  %kc = fresnel.pool mean %k {window = ${block}} : !kv
  %vc = fresnel.pool mean %v {window = ${block}} : !kv
  %pooled, %l0 = fresnel.attend %qc, %kc, %vc : !qc, !kc, !kc
  %coarse = fresnel.unpool %pooled {window = ${block}, seq_len = ${seq_len}} : !qc
  %scores = fresnel.block_score %qc, %kc : !qc, !kc
  %picked = fresnel.select_blocks %scores {topk = ${topk}, query_block = ${block}, key_block = ${block}} : !scores
  %fine, %lse = fresnel.attend %q, %k, %v blocks(%picked : !list) {query_block = ${block}, key_block = ${block}} : !q, !kv, !kv
  %out = fresnel.gate %coarse, %fine by %gates : !q, !q by !gates
  fresnel.return %out, %lse, %picked {names = ["out", "lse", "selected"]} : !q, !lse, !list
}

// summary: Mixture of Block Attention within documents that lie packed in the sequence
// paper: MoBA, arXiv 2502.13189
// param batch int 1 1 65535 : batch size; all sequences are cut alike
// param heads int 8 1 65535 : query heads
// param kv_heads int 8 1 65535 : key and value heads; they must divide heads
// param seq_len int 32768 1 16777216 : tokens of all documents together, N
// param head_dim int 128 1 1024 : head dim D
// param dtype choice bf16 bf16,f16,f32 : element type of the inputs
// param documents int 16 1 65535 : documents at most; cu_seqlens has one entry more
// param block int 512 1 1048576 : tokens of a key block; blocks are counted from the first token of all, and one that two documents share is ranked by the mean of all its keys
// param topk int 3 1 65536 : blocks per token, its own block included
// derive entries = next(documents)
// derive blocks = ceildiv(seq_len, block)
// derive picked = min(topk, blocks)
!q = tensor<${batch}x${heads}x${seq_len}x${head_dim}x${dtype}>
!kv = tensor<${batch}x${kv_heads}x${seq_len}x${head_dim}x${dtype}>
!lse = tensor<${batch}x${heads}x${seq_len}xf32>
!kb = tensor<${batch}x${kv_heads}x${blocks}x${head_dim}x${dtype}>
!scores = tensor<${batch}x${heads}x${seq_len}x${blocks}xf32>
!list = tensor<${batch}x${heads}x${seq_len}x${picked}xi32>
!bounds = tensor<1x2x${seq_len}xi32>

fresnel.program @moba_documents(%q: !q, %k: !kv, %v: !kv, %cu_seqlens: tensor<1x1x${entries}xi32>) {
  %bounds = fresnel.document_bounds %cu_seqlens {seq_len = ${seq_len}} : tensor<1x1x${entries}xi32>
  %kb = fresnel.pool mean %k {window = ${block}} : !kv
  %scores = fresnel.block_score %q, %kb {scale = 1.0, causal = true, key_window = ${block}, key_stride = ${block}} : !q, !kb
  %picked = fresnel.select_blocks %scores documents(%bounds : !bounds) {topk = ${topk}, local = 1, causal = true, key_block = ${block}}
      : !scores
  %out, %lse = fresnel.attend %q, %k, %v blocks(%picked : !list) documents(%bounds : !bounds) {causal = true, key_block = ${block}}
      : !q, !kv, !kv
  fresnel.return %out, %lse, %picked {names = ["out", "lse", "selected"]} : !q, !lse, !list
}

// summary: dense attention over packed documents
// paper: FlashAttention-2, arXiv 2307.08691 (variable-length attention)
// param batch int 1 1 65535 : batch size; all sequences are cut alike
// param heads int 8 1 65535 : query heads
// param kv_heads int 8 1 65535 : key and value heads; they must divide heads
// param seq_len int 8192 1 16777216 : tokens of all documents together, N
// param head_dim int 128 1 1024 : head dim D
// param dtype choice bf16 bf16,f16,f32 : element type of q, k and v
// param documents int 16 1 65535 : documents at most; cu_seqlens has one entry more
// param causal bool true : a query sees keys up to its own position
// param window int 0 0 16777216 : with causal, a query sees its last `window` tokens, itself included; 0 for all
// param softcap float 0 0 1e6 : scores s become c tanh(s / c); 0 turns it off
// param scale float 0 -1e6 1e6 : factor of q . k; 0 for 1/sqrt(head_dim)
// derive entries = next(documents)
// derive factor = scale(scale, head_dim)
!q = tensor<${batch}x${heads}x${seq_len}x${head_dim}x${dtype}>
!kv = tensor<${batch}x${kv_heads}x${seq_len}x${head_dim}x${dtype}>
!lse = tensor<${batch}x${heads}x${seq_len}xf32>

fresnel.program @documents(%q: !q, %k: !kv, %v: !kv, %cu_seqlens: tensor<1x1x${entries}xi32>) {
  %bounds = fresnel.document_bounds %cu_seqlens {seq_len = ${seq_len}} : tensor<1x1x${entries}xi32>
  %out, %lse = fresnel.attend %q, %k, %v documents(%bounds : tensor<1x2x${seq_len}xi32>)
      {causal = ${causal}, window = ${window}, softcap = ${softcap}, scale = ${factor}} : !q, !kv, !kv
  fresnel.return %out, %lse {names = ["out", "lse"]} : !q, !lse
}

// summary: causal sliding window with attention sinks
// paper: Longformer, arXiv 2004.05150; StreamingLLM, arXiv 2309.17453
// param batch int 1 1 65535 : batch size
// param heads int 8 1 65535 : query heads
// param kv_heads int 8 1 65535 : key and value heads; they must divide heads
// param seq_len int 8192 1 16777216 : sequence length N
// param head_dim int 128 1 1024 : head dim D
// param dtype choice bf16 bf16,f16,f32 : element type of the inputs
// param window int 4096 1 16777216 : a query sees its last `window` tokens, itself included
// param sinks int 0 0 16777216 : first tokens that every query sees
// param softcap float 0 0 1e6 : scores s become c tanh(s / c); 0 turns it off
!q = tensor<${batch}x${heads}x${seq_len}x${head_dim}x${dtype}>
!kv = tensor<${batch}x${kv_heads}x${seq_len}x${head_dim}x${dtype}>
!lse = tensor<${batch}x${heads}x${seq_len}xf32>

fresnel.program @window(%q: !q, %k: !kv, %v: !kv) {
  %out, %lse = fresnel.attend %q, %k, %v {causal = true, window = ${window}, sinks = ${sinks}, softcap = ${softcap}}
      : !q, !kv, !kv
  fresnel.return %out, %lse {names = ["out", "lse"]} : !q, !lse
}

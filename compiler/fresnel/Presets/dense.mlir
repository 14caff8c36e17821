// summary: dense softmax attention
// paper: Attention Is All You Need, arXiv 1706.03762
// param batch int 1 1 65535 : batch size
// param heads int 8 1 65535 : query heads
// param kv_heads int 8 1 65535 : key and value heads; they must divide heads
// param seq_len int 8192 1 16777216 : sequence length N
// param kv_len int 0 0 16777216 : key length, 0 for seq_len
// param head_dim int 128 1 1024 : head dim D
// param value_dim int 0 0 1024 : head dim of the values, 0 for head_dim
// param dtype choice bf16 bf16,f16,f32 : element type of the inputs
// param causal bool true : a query sees keys up to its own position, aligned at the ends
// param softcap float 0 0 1e6 : scores s become c tanh(s / c); 0 turns it off
// param scale float 0 -1e6 1e6 : factor of q . k; 0 for 1/sqrt(head_dim)
// derive keys = or(kv_len, seq_len)
// derive values = or(value_dim, head_dim)
// derive factor = scale(scale, head_dim)
!q = tensor<${batch}x${heads}x${seq_len}x${head_dim}x${dtype}>
!k = tensor<${batch}x${kv_heads}x${keys}x${head_dim}x${dtype}>
!v = tensor<${batch}x${kv_heads}x${keys}x${values}x${dtype}>
!out = tensor<${batch}x${heads}x${seq_len}x${values}x${dtype}>
!lse = tensor<${batch}x${heads}x${seq_len}xf32>

fresnel.program @dense(%q: !q, %k: !k, %v: !v) {
  %out, %lse = fresnel.attend %q, %k, %v {causal = ${causal}, softcap = ${softcap}, scale = ${factor}} : !q, !k, !v
  fresnel.return %out, %lse {names = ["out", "lse"]} : !out, !lse
}

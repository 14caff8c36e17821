module {
  fresnel.program @document_bounds_0(%in0: tensor<1x1x4xi32>) attributes {fresnel.kernel} {
    %0 = fresnel.document_bounds %in0 {seq_len = 100 : i64} : tensor<1x1x4xi32>
    fresnel.return %0 {names = ["out0"]} : tensor<1x2x100xi32>
  }
  fresnel.program @attend_1(%in0: tensor<1x2x100x64xbf16>, %in1: tensor<1x2x100x64xbf16>, %in2: tensor<1x2x100x64xbf16>, %in3: tensor<1x2x100xi32>) attributes {fresnel.kernel} {
    %out, %lse = fresnel.attend %in0, %in1, %in2 documents(%in3 : tensor<1x2x100xi32>) {causal = true, scale = 1.250000e-01 : f64} : tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>
    fresnel.return %out, %lse {names = ["out0", "out1"]} : tensor<1x2x100x64xbf16>, tensor<1x2x100xf32>
  }
  fresnel.program @documents(%q: tensor<1x2x100x64xbf16>, %k: tensor<1x2x100x64xbf16>, %v: tensor<1x2x100x64xbf16>, %cu_seqlens: tensor<1x1x4xi32>) attributes {fresnel.saved = [{name = "saved0_document_bounds", offset = 0 : i64}], fresnel.saved_bytes = 1024 : i64} {
    %0 = fresnel.launch @document_bounds_0(%cu_seqlens) : (tensor<1x1x4xi32>) -> tensor<1x2x100xi32>
    %1:2 = fresnel.launch @attend_1(%q, %k, %v, %0) : (tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>, tensor<1x2x100xi32>) -> (tensor<1x2x100x64xbf16>, tensor<1x2x100xf32>)
    fresnel.return %1#0, %1#1, %0 {names = ["out", "lse", "saved0_document_bounds"]} : tensor<1x2x100x64xbf16>, tensor<1x2x100xf32>, tensor<1x2x100xi32>
  }
  fresnel.program @attend_stats_2(%in0: tensor<1x2x100x64xbf16>, %in1: tensor<1x2x100x64xbf16>, %in2: tensor<1x2x100xf32>) attributes {fresnel.kernel} {
    %0 = fresnel.attend_stats %in0, %in1 of %in2 : tensor<1x2x100x64xbf16>, tensor<1x2x100xf32>
    fresnel.return %0 {names = ["out0"]} : tensor<1x2x2x128xf32>
  }
  fresnel.program @attend_grad_3(%in0: tensor<1x2x100x64xbf16>, %in1: tensor<1x2x100x64xbf16>, %in2: tensor<1x2x100x64xbf16>, %in3: tensor<1x2x2x128xf32>, %in4: tensor<1x2x100x64xbf16>, %in5: tensor<1x2x100xi32>) attributes {fresnel.kernel} {
    %dq, %dk, %dv = fresnel.attend_grad %in0, %in1, %in2 stats %in3 dout %in4 mask(%in5 : tensor<1x2x100xi32>) {causal = true, scale = 1.250000e-01 : f64} : tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>, tensor<1x2x2x128xf32>, tensor<1x2x100x64xbf16>
    fresnel.return %dq, %dk, %dv {names = ["out0", "out1", "out2"]} : tensor<1x2x2x4096xf32>, tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>
  }
  fresnel.program @round_tiles_4(%in0: tensor<1x2x2x4096xf32>) attributes {fresnel.kernel} {
    %0 = fresnel.round_tiles %in0 {element = bf16, head_dim = 64 : i64, scale = 1.250000e-01 : f64, seq_len = 100 : i64} : tensor<1x2x2x4096xf32>
    fresnel.return %0 {names = ["out0"]} : tensor<1x2x100x64xbf16>
  }
  fresnel.program @documents_backward(%q: tensor<1x2x100x64xbf16>, %k: tensor<1x2x100x64xbf16>, %v: tensor<1x2x100x64xbf16>, %out: tensor<1x2x100x64xbf16>, %lse: tensor<1x2x100xf32>, %dout: tensor<1x2x100x64xbf16>, %saved0_document_bounds: tensor<1x2x100xi32>) attributes {fresnel.backward, fresnel.saved = [{name = "saved0_document_bounds", offset = 0 : i64}]} {
    %0 = fresnel.launch @attend_stats_2(%out, %dout, %lse) : (tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>, tensor<1x2x100xf32>) -> tensor<1x2x2x128xf32>
    %1:3 = fresnel.launch @attend_grad_3(%q, %k, %v, %0, %dout, %saved0_document_bounds) : (tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>, tensor<1x2x2x128xf32>, tensor<1x2x100x64xbf16>, tensor<1x2x100xi32>) -> (tensor<1x2x2x4096xf32>, tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>)
    %2 = fresnel.launch @round_tiles_4(%1#0) : (tensor<1x2x2x4096xf32>) -> tensor<1x2x100x64xbf16>
    fresnel.return %2, %1#1, %1#2 {names = ["dq", "dk", "dv"]} : tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>
  }
}

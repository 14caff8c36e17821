"""A bundle on the GPU through the C ABI, with PyTorch tensors as arguments."""

import ctypes
import sys


class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("dtype", ctypes.c_int), ("rank", ctypes.c_int32),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64))]


class Argument(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_int), ("rank", ctypes.c_int32),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("is_output", ctypes.c_int32)]


class Plan:
    """A bundle on the GPU, with outputs and workspace of its own."""

    def __init__(self, torch, runtime, bundle, inputs):
        self.torch, self.runtime = torch, runtime
        self.handle = ctypes.c_void_p()
        self.check(runtime.frn_plan_load(str(bundle).encode(), 0, ctypes.byref(self.handle)))
        kinds = {0: torch.float32, 1: torch.bfloat16, 3: torch.int32}
        self.tensors, self.outputs, arguments = [], {}, []
        for index in range(runtime.frn_plan_argument_count(self.handle)):
            argument = Argument()
            self.check(runtime.frn_plan_argument(self.handle, index, ctypes.byref(argument)))
            shape = [argument.shape[i] for i in range(argument.rank)]
            name = argument.name.decode()
            if argument.is_output:
                order = (0, 2, 1, 3) if argument.rank == 4 else tuple(range(argument.rank))
                memory = torch.empty([shape[i] for i in order], device="cuda", dtype=kinds[argument.dtype])
                tensor = self.outputs[name] = memory.permute(order)
            else:
                tensor = inputs[name]
            rank = argument.rank
            arguments.append(Tensor(tensor.data_ptr(), argument.dtype, rank, (ctypes.c_int64 * rank)(*tensor.shape),
                                    (ctypes.c_int64 * rank)(*tensor.stride())))
            self.tensors.append(tensor)
        self.arguments = (Tensor * len(arguments))(*arguments)
        self.bytes = runtime.frn_plan_workspace_bytes(self.handle)
        self.workspace = torch.empty(max(1, self.bytes), device="cuda", dtype=torch.uint8)

    def check(self, status):
        if status:
            sys.exit("fresnel: " + self.runtime.frn_last_error().decode())

    def launch(self):
        stream = self.torch.cuda.current_stream().cuda_stream
        self.check(self.runtime.frn_plan_launch(self.handle, self.arguments, len(self.arguments),
                                                ctypes.c_void_p(self.workspace.data_ptr()), ctypes.c_int64(self.bytes),
                                                ctypes.c_void_p(stream)))


def load_library(path):
    library = ctypes.CDLL(path)
    library.frn_last_error.restype = ctypes.c_char_p
    library.frn_plan_argument_count.restype = ctypes.c_size_t
    library.frn_plan_argument_count.argtypes = [ctypes.c_void_p]
    library.frn_plan_workspace_bytes.restype = ctypes.c_int64
    library.frn_plan_workspace_bytes.argtypes = [ctypes.c_void_p]
    library.frn_plan_argument.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    library.frn_plan_launch.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p,
                                        ctypes.c_int64, ctypes.c_void_p]
    return library

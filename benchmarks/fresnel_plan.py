"""A bundle on the GPU with PyTorch tensors as arguments, through the Python package of this checkout."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))


def load_library(path):
    """The package `fresnel`, made to use the runtime library at `path`."""
    os.environ["FRESNEL_RUNTIME"] = str(path)
    import fresnel
    return fresnel


class Plan:
    """The plans of a bundle, with outputs, gradients, workspace and saved memory of their own."""

    def __init__(self, torch, fresnel, bundle, inputs):
        self.torch, self.package = torch, fresnel
        self.plan = fresnel.load(bundle)
        self.outputs, self.gradients = {}, {}
        self.saved = torch.empty(self.plan.saved_bytes, device="cuda", dtype=torch.uint8)
        self.forward = self.prepare(fresnel.FORWARD, inputs, self.outputs)
        if self.plan.has_backward:
            self.reverse = self.prepare(fresnel.BACKWARD, {**inputs, **self.outputs}, self.gradients)

    @property
    def bytes(self):
        return self.plan.workspace_bytes(self.package.FORWARD)

    @property
    def backward_bytes(self):
        return self.plan.workspace_bytes(self.package.BACKWARD)

    def make_output(self, argument):
        """Rank 4 lies as [B, N, H, D] in memory."""
        kinds = {"f32": self.torch.float32, "bf16": self.torch.bfloat16, "f16": self.torch.float16, "i32": self.torch.int32,
                 "i8": self.torch.int8}
        order = (0, 2, 1, 3) if len(argument.shape) == 4 else tuple(range(len(argument.shape)))
        memory = self.torch.empty([argument.shape[i] for i in order], device="cuda", dtype=kinds[argument.dtype])
        return memory.permute(order)

    def prepare(self, direction, inputs, outputs):
        """Everything that a launch takes."""
        references = {}
        for argument in self.plan.arguments(direction):
            if argument.is_output:
                outputs[argument.name] = self.make_output(argument)
            tensor = outputs[argument.name] if argument.is_output else inputs[argument.name]
            references[argument.name] = self.package.TensorRef(tensor.data_ptr(), argument.dtype, tuple(tensor.shape),
                                                               tensor.stride())
        size = self.plan.workspace_bytes(direction)
        workspace = self.torch.empty(size, device="cuda", dtype=self.torch.uint8)
        return direction, references, workspace, size

    def run(self, prepared):
        direction, references, workspace, size = prepared
        self.plan.run(direction, references, workspace=workspace.data_ptr() or None, workspace_bytes=size,
                      saved=self.saved.data_ptr() or None, saved_bytes=self.plan.saved_bytes,
                      stream=self.torch.cuda.current_stream().cuda_stream)

    def launch(self):
        self.run(self.forward)

    def backward(self):
        self.run(self.reverse)

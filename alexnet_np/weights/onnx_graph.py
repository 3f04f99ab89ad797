"""A network as an ONNX file, for ONNX Runtime and whatever else reads the format.

The graph takes images as that world has them, (N, 3, H, W) in float32, normalised; N is free, H and W are fixed when
it is made. It gives what forward gives. Weights have torchvision's names and layouts; dropout is what it is outside
training. What ONNX has no operator for is put together from those it has:

    adaptive average pool           two matrix products with the shares of each cell's rows and columns
    response norm within groups     a reshape that lays the groups along the batch
    response norm over space        Mul, AveragePool (which counts the padding), Mul, Add, Pow, Div

Source: the ONNX operator specification, opset 17.
"""

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..layers import (
    AdaptiveAvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    Softmax,
)
from ..layers.base import Layer, Shape
from .description import Description
from .files import writing
from .layouts import to_torch, torch_name

if TYPE_CHECKING:
    from ..models import Network

OPSET, IR_VERSION = 17, 8


def export_onnx(
    net: "Network",
    path: str | os.PathLike[str],
    size: tuple[int, int] = (224, 224),
    description: Description | None = None,
) -> None:
    """Write the network for images of ``size`` (H, W); the file appears whole or not at all.

    Input "images" (N, 3, H, W); output "probabilities" where the network ends in a softmax, else "logits",
    (N, num_classes). A ``description`` is kept in the file's metadata. Raises ValueError where the network takes no
    images of this size, OSError where the file cannot be written, ModuleNotFoundError without the onnx package.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ONNX files need onnx, which is not installed (pip install 'alexnet-np[onnx]')"
        ) from error

    graph = _Graph(net, size)
    model = onnx.helper.make_model(
        graph.proto(), opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    if description is not None:
        onnx.helper.set_model_props(model, description.metadata())
    with writing(path) as unfinished:
        unfinished.write_bytes(model.SerializeToString())


class _Graph:
    """Nodes one after another, each taking what the one before it gives."""

    def __init__(self, net: "Network", size: tuple[int, int]) -> None:
        self.nodes: list[Any] = []
        self.tensors: dict[str, np.ndarray] = {}
        self.weights = to_torch(net)
        self.value = "images"
        self.shape = (1, *size, 3)
        self.output_shape = net.output_shape(self.shape)  # says in a sentence what does not fit
        shape: Shape = self.shape
        for name, layer in net.walk():
            out = layer.output_shape(shape)
            self.layer(name, layer, shape, out)
            shape = out
        self.output = "probabilities" if isinstance(layer, Softmax) else "logits"
        self.nodes[-1].output[0] = self.output

    def proto(self) -> Any:
        from onnx import TensorProto, helper, numpy_helper

        images, output = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", shape[-1], *shape[1:-1]])
            for name, shape in (("images", self.shape), (self.output, self.output_shape))
        )
        tensors = [numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in self.tensors.items()]
        return helper.make_graph(self.nodes, "alexnet", [images], [output], tensors)

    def add(self, operator: str, *behind: str, before: str | None = None, **attributes: Any) -> None:
        """A node that takes the value so far, between these others; what it gives is the value from here on."""
        from onnx import helper

        inputs = [self.value, *behind] if before is None else [before, self.value, *behind]
        self.value = f"{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [self.value], **attributes))

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"constant{len(self.tensors)}"
        self.tensors[name] = np.asarray(value, dtype)
        return name

    def parameters(self, layer: Layer) -> list[str]:
        names = [torch_name(parameter) for parameter in layer.parameters()]
        self.tensors |= {name: self.weights[name].astype(np.float32, copy=False) for name in names}
        return names

    def layer(self, name: str, layer: Layer, shape: Shape, out: Shape) -> None:
        """The layer's nodes, for shapes (N, H, W, C)."""
        match layer:
            case Conv2d():
                self.add("Conv", *self.parameters(layer), group=layer.groups, **_geometry(layer, shape, out))
            case MaxPool2d():
                self.add("MaxPool", **_geometry(layer, shape, out))
            case AdaptiveAvgPool2d():
                self.adaptive_pool(shape, out)
            case LocalResponseNorm():
                self.response_norm(layer, shape)
            case Linear():
                self.add("Gemm", *self.parameters(layer), transB=1)
            case ReLU():
                self.add("Relu")
            case Flatten():
                self.add("Flatten")
            case Softmax():
                self.add("Softmax", axis=1)
            case Dropout():
                if not layer.inverted:
                    self.add("Mul", self.constant(1 - layer.p))
            case _:
                raise ValueError(f"export_onnx: {name}: expected a layer of AlexNet's, got {layer.label}")

    def adaptive_pool(self, shape: Shape, out: Shape) -> None:
        """(N, C, H, W) -> (N, C, OH, OW): rows (OH, H) @ image, then image @ columns (W, OW)."""
        _, H, W, _ = shape
        _, OH, OW, _ = out
        if OW != W:
            self.add("MatMul", self.constant(_shares(W, OW).T))
        if OH != H:
            self.add("MatMul", before=self.constant(_shares(H, OH)))

    def response_norm(self, norm: LocalResponseNorm, shape: Shape) -> None:
        _, H, W, C = shape
        if norm.across == "space":
            self.norm_over_space(norm)
            return
        if norm.size % 2 == 0:
            raise ValueError(f"export_onnx: expected windows of an odd size, got {norm.label}")
        alpha = norm.alpha if norm.divide_alpha else norm.alpha * norm.size  # ONNX divides
        if norm.groups > 1:  # (N, C, H, W) -> (N*G, C/G, H, W)
            self.add("Reshape", self.constant((-1, C // norm.groups, H, W), np.int64))
        self.add("LRN", size=norm.size, alpha=float(alpha), beta=float(norm.beta), bias=float(norm.k))
        if norm.groups > 1:
            self.add("Reshape", self.constant((-1, C, H, W), np.int64))

    def norm_over_space(self, norm: LocalResponseNorm) -> None:
        """x / (k + a * sum of squares)^beta, the sum as an average with zeros beyond the edges, times its window."""
        x, window = self.value, norm.size**2
        before, after = norm.size // 2, (norm.size - 1) // 2
        self.add("Mul", x)
        pads = [before, before, after, after]
        self.add("AveragePool", kernel_shape=[norm.size] * 2, strides=[1, 1], pads=pads, count_include_pad=1)
        self.add("Mul", self.constant(norm.alpha if norm.divide_alpha else norm.alpha * window))
        self.add("Add", self.constant(norm.k))
        self.add("Pow", self.constant(-norm.beta))
        self.add("Mul", x)


def _geometry(layer: Conv2d | MaxPool2d, shape: Shape, out: Shape) -> dict[str, Any]:
    """Attributes of a Conv or MaxPool; ceil_mode is said by padding, which all runtimes understand alike."""
    pads = []
    for axis in (0, 1):
        before, after = np.broadcast_to(layer.padding[axis], 2).tolist()
        kernel, stride = layer.kernel_size[axis], layer.stride[axis]
        needed = (out[1 + axis] - 1) * stride + kernel - shape[1 + axis] - before
        pads.append((before, max(after, needed)))
    (top, bottom), (left, right) = pads
    return {
        "kernel_shape": list(layer.kernel_size),
        "strides": list(layer.stride),
        "pads": [top, left, bottom, right],
    }


def _shares(size: int, cells: int) -> np.ndarray:
    """(cells, size): how much each pixel of a row adds to the mean of each cell of adaptive pooling."""
    shares = np.zeros((cells, size))
    for cell in range(cells):
        start, end = cell * size // cells, -((cell + 1) * size // -cells)
        shares[cell, start:end] = 1 / (end - start)
    return shares

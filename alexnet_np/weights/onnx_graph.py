"""A network as an ONNX file, for ONNX Runtime and whatever else reads the format.

The graph takes images as that world has them, (N, 3, H, W) in float32, normalised; N is free, H and W are fixed when
it is made. It gives what forward gives. Weights have torchvision's names and layouts; dropout is what it is outside
training. What ONNX has no operator for is put together from those it has:

    adaptive average pool           two matrix products with the shares of each cell's rows and columns
    response norm within groups     a reshape that lays the groups along the batch
    response norm over space        Mul, AveragePool (which counts the padding), Mul, Add, Pow, Div

Only this package's own classes are known. Any other layer, a subclass of one of them included, says itself what it is:

    class Residual(layers.Layer):             # y = x + body(x)
        def to_onnx(self, graph, x, shape):   # x: the name of a value; shape: its (N, H, W, C) or (N, features)
            return graph.node("Add", x, graph.layer(self.body, x, shape))

    graph.layer(layer, x, shape)              the nodes of a layer in it; the name of what it gives
    graph.node(operator, *inputs, **attributes)     one node; the name of what it gives
    graph.constant(array, dtype=float32)      an array as an input of nodes; the name of it

Values of images are (N, C, H, W) in the graph: a weight for each channel is a constant of shape (C, 1, 1).

Source: the ONNX operator specification, opset 17.
"""

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import to_numpy
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
from ..layers.classes import describes_forward, is_as_its_class_says
from .description import Description
from .files import writing
from .layouts import Image, to_torch_layout, torch_name

if TYPE_CHECKING:
    from ..layers import Container

OPSET, IR_VERSION = 17, 8


def export_onnx(
    net: "Container",
    path: str | os.PathLike[str],
    size: tuple[int, int] = (224, 224),
    description: Description | None = None,
) -> None:
    """Write the network for images of ``size`` (H, W); the file appears whole or not at all.

    Input "images" (N, 3, H, W); output "probabilities" where the network ends in a softmax, else "logits",
    (N, num_classes). A ``description`` is kept in the file's metadata. Raises ValueError where the network takes no
    images of this size or the description is of another network, TypeError where it has a layer of another class
    without ``to_onnx`` (see above), OSError where the file cannot be written, ModuleNotFoundError without the onnx
    package.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ONNX files need onnx, which is not installed (pip install 'alexnet-np[onnx]')"
        ) from error

    graph = Graph(net, size)
    if description is not None:
        description.check(net, size)
    model = onnx.helper.make_model(
        graph.proto(), opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    if description is not None:
        onnx.helper.set_model_props(model, description.metadata())
    with writing(path) as unfinished:
        unfinished.write_bytes(model.SerializeToString())


class Graph:
    """The nodes of a network. Values (what nodes take and give) are known by their names."""

    def __init__(self, net: "Container", size: tuple[int, int]) -> None:
        self.nodes: list[Any] = []
        self.tensors: dict[str, np.ndarray] = {}
        self._names = {id(parameter): torch_name(name) for name, parameter in net.named_parameters()}
        self.shape: Shape = (1, *size, 3)
        self.output_shape = net.output_shape(self.shape)  # says in a sentence what does not fit
        value = self.layer(net, "images", self.shape)
        last = [layer for _, layer in net.steps()][-1]
        self.output = "probabilities" if type(last) is Softmax else "logits"
        self.node("Identity", value)
        self.nodes[-1].output[0] = self.output

    def proto(self) -> Any:
        from onnx import TensorProto, helper, numpy_helper

        images, output = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", shape[-1], *shape[1:-1]])
            for name, shape in (("images", self.shape), (self.output, self.output_shape))
        )
        tensors = [numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in self.tensors.items()]
        return helper.make_graph(self.nodes, "alexnet", [images], [output], tensors)

    # ---- what a layer's to_onnx takes

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node of this operator that takes these values; the name of what it gives."""
        from onnx import helper

        value = f"{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [value], **attributes))
        return value

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """The name of an array in the file. An array of a GPU is fetched."""
        name = f"constant{len(self.tensors)}"
        self.tensors[name] = np.asarray(to_numpy(value), dtype)
        return name

    def layer(self, layer: Layer, x: str, shape: Shape) -> str:
        """The nodes of a layer or container that takes the value x; the name of what it gives."""
        steps = list(layer.steps())
        image: Image | None = None  # that was flattened, where the next Linear takes its numbers in torch's order
        for i, (_, step) in enumerate(steps):
            out = step.output_shape(shape)
            if type(step) is Flatten and len(shape) == 4:
                image = (shape[1], shape[2], shape[3])
                if not _linear_follows(steps[i + 1 :]):  # here channels run fastest
                    x, image = self.node("Transpose", x, perm=[0, 2, 3, 1]), None
            x = self._step(step, x, shape, out, image)
            if type(step) is Linear:
                image = None
            shape = out
        return x

    # ---- one layer after another

    def _step(self, layer: Layer, x: str, shape: Shape, out: Shape, image: Image | None) -> str:
        """The layer's nodes, for shapes (N, H, W, C). Exact classes only: a subclass may compute something else."""
        kind = type(layer)
        if hasattr(layer, "to_onnx") and ("to_onnx" in vars(layer) or describes_forward(layer, "to_onnx")):
            return str(layer.to_onnx(self, x, shape))
        if not is_as_its_class_says(layer):
            raise self._unknown(layer)
        if isinstance(layer, Conv2d) and kind is Conv2d:
            return self.node("Conv", x, *self._parameters(layer), group=layer.groups, **_geometry(layer, shape, out))
        if isinstance(layer, MaxPool2d) and kind is MaxPool2d:
            return self.node("MaxPool", x, **_geometry(layer, shape, out))
        if kind is AdaptiveAvgPool2d:
            return self._adaptive_pool(x, shape, out)
        if isinstance(layer, LocalResponseNorm) and kind is LocalResponseNorm:
            return self._norm_over_space(layer, x) if layer.across == "space" else self._norm(layer, x, shape)
        if kind is Linear:
            return self.node("Gemm", x, *self._parameters(layer, image), transB=1)
        if kind is ReLU:
            return self.node("Relu", x)
        if kind is Flatten:
            return self.node("Flatten", x)
        if kind is Softmax:
            return self.node("Softmax", x, axis=1)
        if isinstance(layer, Dropout) and kind is Dropout:
            return x if layer.inverted else self.node("Mul", x, self.constant(1 - layer.p))
        raise self._unknown(layer)

    def _unknown(self, layer: Layer) -> TypeError:
        return TypeError(
            f"export_onnx: {type(layer).__name__}: expected a layer of this package's own classes or one with to_onnx, "
            f"got {layer.label}: define to_onnx(graph, x, shape), see alexnet_np/weights/onnx_graph.py"
        )

    def _parameters(self, layer: Layer, image: Image | None = None) -> list[str]:
        """Weight and bias, by torchvision's names and in its layouts."""
        names = []
        for _, parameter in layer.named_parameters():
            if id(parameter) not in self._names:
                where = f"export_onnx: {layer.label}"
                raise ValueError(f"{where}: expected a layer of the network that is exported, got another one")
            name = self._names[id(parameter)]
            array = to_torch_layout(to_numpy(parameter.data), image if parameter.data.ndim == 2 else None)
            self.tensors[name] = array.astype(np.float32, copy=False)
            names.append(name)
        return names

    def _adaptive_pool(self, x: str, shape: Shape, out: Shape) -> str:
        """(N, C, H, W) -> (N, C, OH, OW): rows (OH, H) @ image, then image @ columns (W, OW)."""
        _, H, W, _ = shape
        _, OH, OW, _ = out
        if OW != W:
            x = self.node("MatMul", x, self.constant(_shares(W, OW).T))
        if OH != H:
            x = self.node("MatMul", self.constant(_shares(H, OH)), x)
        return x

    def _norm(self, norm: LocalResponseNorm, x: str, shape: Shape) -> str:
        _, H, W, C = shape
        if norm.size % 2 == 0:
            raise ValueError(f"export_onnx: expected windows of an odd size, got {norm.label}")
        alpha = norm.alpha if norm.divide_alpha else norm.alpha * norm.size  # ONNX divides
        if norm.groups > 1:  # (N, C, H, W) -> (N*G, C/G, H, W)
            x = self.node("Reshape", x, self.constant((-1, C // norm.groups, H, W), np.int64))
        x = self.node("LRN", x, size=norm.size, alpha=float(alpha), beta=float(norm.beta), bias=float(norm.k))
        if norm.groups > 1:
            x = self.node("Reshape", x, self.constant((-1, C, H, W), np.int64))
        return x

    def _norm_over_space(self, norm: LocalResponseNorm, x: str) -> str:
        """x / (k + a * sum of squares)^beta, the sum as an average with zeros beyond the edges, times its window."""
        before, after = norm.size // 2, (norm.size - 1) // 2
        pads = [before, before, after, after]
        mean = self.node(
            "AveragePool",
            self.node("Mul", x, x),
            kernel_shape=[norm.size] * 2,
            strides=[1, 1],
            pads=pads,
            count_include_pad=1,
        )
        alpha = self.constant(norm.alpha if norm.divide_alpha else norm.alpha * norm.size**2)
        base = self.node("Add", self.node("Mul", mean, alpha), self.constant(norm.k))
        return self.node("Mul", self.node("Pow", base, self.constant(-norm.beta)), x)


def _linear_follows(steps: list[tuple[str, Layer]]) -> bool:
    """Whether a Linear takes what is flattened, as it is or after layers that look at each number alone."""
    following = next((layer for _, layer in steps if type(layer) not in (ReLU, Dropout)), None)
    return type(following) is Linear


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

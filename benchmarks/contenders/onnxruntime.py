"""ONNX Runtime: inference only, on a graph written here operator by operator."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .. import problem

OPTIONS = onnxruntime.SessionOptions()


def set_threads(threads: int) -> None:
    OPTIONS.intra_op_num_threads = threads
    OPTIONS.inter_op_num_threads = 1


class Contender:
    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        graph = _graph(problem.to_channels_first(weights))
        self.session = onnxruntime.InferenceSession(graph, OPTIONS, providers=["CPUExecutionProvider"])

    def load(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))

    def infer(self) -> np.ndarray:
        return self.session.run(None, {"x": self.x})[0]


def _graph(weights: dict[str, np.ndarray]) -> bytes:
    nodes, value = [], "x"

    def add(operator: str, *inputs: str, **attributes: object) -> None:
        nonlocal value
        output = f"{len(nodes)}"
        nodes.append(helper.make_node(operator, [value, *inputs], [output], **attributes))
        value = output

    for layer in problem.LAYERS:
        parameters = (f"{layer.key}.weight", f"{layer.key}.bias")
        if layer.kind == "conv":
            add("Conv", *parameters, strides=[layer.stride] * 2, pads=[layer.padding] * 4)
        elif layer.kind == "pool":
            add("MaxPool", kernel_shape=[3, 3], strides=[2, 2])
        else:
            if layer.name == "fc6":
                add("Flatten")
            add("Gemm", *parameters, transB=1)
        if layer.relu:
            add("Relu")
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 224, 224])
    logits = helper.make_tensor_value_info(value, TensorProto.FLOAT, ["N", problem.CLASSES])
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "alexnet", [images], [logits], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()

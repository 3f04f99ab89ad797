"""This project, through its public interface.

The options are those of net.to: device, algorithm, dtype, precision. Its threads come from ALEXNET_NP_NUM_THREADS
(worker.py). On a GPU a step is the one that training takes; it and inference are recorded as CUDA graphs, unless
``graph`` is False.
"""

import sys
from typing import Any

import numpy as np

from alexnet_np import backend, layers, losses, models, optim
from alexnet_np.inference import Inference
from alexnet_np.step import Step

from .. import problem


def rest() -> None:
    if "cupy" in sys.modules:
        sys.modules["cupy"].get_default_memory_pool().free_all_blocks()


class Device:
    """What a contender and a layer alone share on a GPU."""

    def __init__(self, device: str, precision: str) -> None:
        self.to = {"precision": precision} if device == "gpu" else {}
        if device == "gpu":
            self.finish = backend.get("gpu").xp.cuda.Device().synchronize


class Contender(Device):
    def __init__(
        self,
        weights: dict[str, np.ndarray],
        device: str,
        graph: bool = True,
        precision: str = "float32",
        **to: Any,
    ) -> None:
        super().__init__(device, precision)
        self.recorded = device == "gpu" and graph
        self.net = models.alexnet(init="zeros").to(device, **self.to, **to)
        self.net.load_state_dict(weights)
        self.sgd = optim.SGD(self.net.parameters(), problem.LR, problem.MOMENTUM, problem.WEIGHT_DECAY)
        self.inference = Inference(self.net, graph)
        if device == "gpu":
            train = Step(self.net, self.sgd, graph)
            self.step = lambda: train(self.x, self.y)

    def load(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = self.net.backend.asarray(x, self.net.dtype), self.net.backend.asarray(y)

    def set_dropout(self, p: float) -> None:
        for _, layer in self.net.walk():
            if isinstance(layer, layers.Dropout):
                layer.p = p

    def infer(self) -> Any:
        return self.inference(self.x)

    def logits(self) -> np.ndarray:
        if self.recorded:
            self.infer()  # the first call is not
        return backend.to_numpy(self.infer())

    def step(self) -> float:
        loss = self._backward()
        self.sgd.step()
        return loss

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        loss = self._backward()
        return loss, {p.name: backend.to_numpy(p.grad) for p in self.net.parameters()}

    def weights(self) -> dict[str, np.ndarray]:
        return {name: backend.to_numpy(w) for name, w in self.net.state_dict().items()}

    def _backward(self) -> float:
        logits = self.net.forward(self.x, training=True)
        loss, dlogits = losses.softmax_cross_entropy(logits, self.y)
        self.net.backward(dlogits)
        return float(loss)


class LayerTask(Device):
    """One layer alone. In precision bfloat16 as in a network: activations are bfloat16, but for the images; and for the
    result of a product and its gradient, which are float32 where no ReLU follows.
    """

    def __init__(
        self,
        layer: problem.Layer,
        data: dict[str, np.ndarray],
        device: str,
        graph: bool = False,
        precision: str = "float32",
        **to: Any,
    ) -> None:
        super().__init__(device, precision)
        if layer.kind == "pool":
            module: layers.Layer = layers.MaxPool2d(3, stride=2)
        elif layer.kind == "conv":
            KH, _, C, O = layer.w
            module = layers.Conv2d(C, O, KH, layer.stride, layer.padding, init="zeros")
        else:
            module = layers.Linear(*layer.w, init="zeros")
        self.module = module.to(device, **self.to, **to)
        self.parameters = dict(zip("wb", module.parameters(), strict=False))  # pooling has none
        asarray = module.backend.asarray
        for name, parameter in self.parameters.items():
            parameter.data[...] = asarray(data[name])
        dtype = narrow = to.get("dtype", "float32")
        if self.to.get("precision") == "bfloat16":
            from ml_dtypes import bfloat16 as narrow
        self.x = asarray(data["x"], dtype if layer.first else narrow)
        self.dy = asarray(data["dy"], narrow if layer.kind == "pool" else dtype)
        self.input_grad = not layer.first

    def forward(self) -> None:
        self.y = self.module.forward(self.x, training=True)

    def backward(self) -> None:
        self.dx = self.module.backward(self.dy, input_grad=self.input_grad)

    def results(self) -> dict[str, np.ndarray]:
        results = {"y": self.y} | ({"dx": self.dx} if self.input_grad else {})
        results |= {f"d{name}": parameter.grad for name, parameter in self.parameters.items()}
        return {name: backend.to_numpy(array) for name, array in results.items()}

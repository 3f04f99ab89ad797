"""This project, through its public interface.

The options are those of net.to: device, algorithm, dtype. Its threads come from ALEXNET_NP_NUM_THREADS (worker.py).
"""

from typing import Any

import numpy as np

from alexnet_np import layers, losses, models, optim

from .. import problem


class Contender:
    def __init__(self, weights: dict[str, np.ndarray], **to: Any) -> None:
        self.net = models.alexnet(init="zeros").to(**to)
        self.net.load_state_dict(weights)
        self.sgd = optim.SGD(self.net.parameters(), problem.LR, problem.MOMENTUM, problem.WEIGHT_DECAY)

    def load(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x.astype(self.net.dtype), y

    def set_dropout(self, p: float) -> None:
        for _, layer in self.net.walk():
            if isinstance(layer, layers.Dropout):
                layer.p = p

    def infer(self) -> np.ndarray:
        return self.net.forward(self.x, keep=False)

    def step(self) -> float:
        loss = self._backward()
        self.sgd.step()
        return loss

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        loss = self._backward()
        return loss, {p.name: p.grad for p in self.net.parameters()}

    def weights(self) -> dict[str, np.ndarray]:
        return self.net.state_dict()

    def _backward(self) -> float:
        logits = self.net.forward(self.x, training=True)
        loss, dlogits = losses.softmax_cross_entropy(logits, self.y)
        self.net.backward(dlogits)
        return float(loss)


class LayerTask:
    """One layer alone."""

    def __init__(self, layer: problem.Layer, data: dict[str, np.ndarray], **to: Any) -> None:
        if layer.kind == "pool":
            module: layers.Layer = layers.MaxPool2d(3, stride=2)
        elif layer.kind == "conv":
            KH, _, C, O = layer.w
            module = layers.Conv2d(C, O, KH, layer.stride, layer.padding, init="zeros")
        else:
            module = layers.Linear(*layer.w, init="zeros")
        self.module = module.to(**to)
        self.parameters = dict(zip("wb", module.parameters(), strict=False))  # pooling has none
        for name, parameter in self.parameters.items():
            parameter.data[...] = data[name]
        self.x, self.dy = (data[name].astype(to.get("dtype", "float32")) for name in ("x", "dy"))
        self.input_grad = not layer.first

    def forward(self) -> None:
        self.y = self.module.forward(self.x, training=True)

    def backward(self) -> None:
        self.dx = self.module.backward(self.dy, input_grad=self.input_grad)

    def results(self) -> dict[str, np.ndarray]:
        results = {"y": self.y} | ({"dx": self.dx} if self.input_grad else {})
        return results | {f"d{name}": parameter.grad for name, parameter in self.parameters.items()}

"""PyTorch: torchvision's network, in its default layout, channels_last, or compiled by Inductor."""

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import problem

MEMORY_FORMATS = {"default": torch.contiguous_format, "channels_last": torch.channels_last}


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)


class Contender:
    def __init__(self, weights: dict[str, np.ndarray], layout: str = "default", compiled: bool = False) -> None:
        self.memory_format = MEMORY_FORMATS[layout]
        self.net = _network().to(memory_format=self.memory_format)
        state = {name: torch.from_numpy(array) for name, array in problem.to_channels_first(weights).items()}
        self.net.load_state_dict(state)
        self.call = torch.compile(self.net) if compiled else self.net
        self.loss = nn.CrossEntropyLoss()
        self.sgd = torch.optim.SGD(
            self.net.parameters(), problem.LR, problem.MOMENTUM, weight_decay=problem.WEIGHT_DECAY, fused=True
        )

    def load(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x = _images(x, self.memory_format)
        self.y = torch.from_numpy(y)

    def set_dropout(self, p: float) -> None:
        for module in self.net.modules():
            if isinstance(module, nn.Dropout):
                module.p = p

    def infer(self) -> np.ndarray:
        self.net.eval()
        with torch.inference_mode():
            return self.call(self.x).numpy()

    def step(self) -> float:
        loss = self._backward()
        self.sgd.step()
        return loss

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        loss = self._backward()
        return loss, problem.from_channels_first({name: p.grad for name, p in self.net.named_parameters()})

    def weights(self) -> dict[str, np.ndarray]:
        return problem.from_channels_first(self.net.state_dict())

    def _backward(self) -> float:
        self.net.train()
        self.sgd.zero_grad(set_to_none=True)
        loss = self.loss(self.call(self.x), self.y)
        loss.backward()
        return loss.item()


class LayerTask:
    """One layer alone."""

    def __init__(self, layer: problem.Layer, data: dict[str, np.ndarray], layout: str = "default") -> None:
        memory_format = MEMORY_FORMATS[layout]
        images = layer.kind != "linear"
        tensors = {name: torch.from_numpy(array) for name, array in data.items()}
        if images:
            tensors |= {name: _images(data[name], memory_format) for name in ("x", "dy")}
        self.x, self.dy = tensors["x"], tensors["dy"]
        self.wanted = {} if layer.first else {"dx": self.x.requires_grad_()}
        if layer.kind == "pool":
            self.module: nn.Module = nn.MaxPool2d(3, stride=2)
        else:
            self.module = (_conv(layer) if images else nn.Linear(*layer.w)).to(memory_format=memory_format)
            w = tensors["w"].permute(3, 2, 0, 1) if images else tensors["w"].T
            self.module.load_state_dict({"weight": w, "bias": tensors["b"]})
            self.wanted |= {"dw": self.module.weight, "db": self.module.bias}

    def forward(self) -> None:
        self.y = self.module(self.x)

    def backward(self) -> None:
        self.grads = torch.autograd.grad(self.y, list(self.wanted.values()), self.dy)

    def results(self) -> dict[str, np.ndarray]:
        results = {"y": self.y.detach(), **dict(zip(self.wanted, self.grads, strict=True))}
        for name, tensor in results.items():
            if tensor.ndim == 4:
                results[name] = tensor.permute(2, 3, 1, 0) if name == "dw" else tensor.permute(0, 2, 3, 1)
            elif name == "dw":
                results[name] = tensor.T
        return {name: tensor.numpy() for name, tensor in results.items()}


def _network() -> nn.Sequential:
    """torchvision.models.alexnet without its initialisation, which would take seconds, under the same names."""
    features, classifier = nn.Sequential(), nn.Sequential()
    with torch.device("meta"):
        for layer in problem.LAYERS:
            block = classifier if layer.kind == "linear" else features
            if layer.dropout:
                block.append(nn.Dropout(problem.DROPOUT))
            if layer.kind == "conv":
                block.append(_conv(layer))
            else:
                block.append(nn.Linear(*layer.w) if layer.w else nn.MaxPool2d(3, stride=2))
            if layer.relu:
                block.append(nn.ReLU(inplace=True))
        net = nn.Sequential(OrderedDict(features=features, flatten=nn.Flatten(), classifier=classifier))
    return net.to_empty(device="cpu")


def _conv(layer: problem.Layer) -> nn.Conv2d:
    KH, _, C, O = layer.w
    return nn.Conv2d(C, O, KH, layer.stride, layer.padding)


def _images(x: np.ndarray, memory_format: Any) -> torch.Tensor:
    """(N, H, W, C) -> (N, C, H, W), in memory as the format says. Never a view of x."""
    return torch.from_numpy(x).permute(0, 3, 1, 2).clone(memory_format=memory_format)

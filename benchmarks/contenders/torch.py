"""PyTorch: torchvision's network, in its default layout, channels_last, or compiled by Inductor; on a CPU or a GPU."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import problem

MEMORY_FORMATS = {"default": torch.contiguous_format, "channels_last": torch.channels_last}


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)


def rest() -> None:
    torch.cuda.empty_cache()  # without a GPU: nothing


class Device:
    """What a contender and a layer alone share: where they compute, and in which precision."""

    def __init__(self, device: str = "cpu", precision: str = "float32") -> None:
        self.device = device
        self.precision = precision
        if device == "cuda":
            _allow_tf32(precision == "tf32")
            torch.backends.cudnn.benchmark = True
            self.finish = torch.cuda.synchronize

    def autocast(self) -> AbstractContextManager[None]:
        """Mixed precision, where it was asked for."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")


class Contender(Device):
    def __init__(
        self, weights: dict[str, np.ndarray], layout: str = "default", compiled: str = "", **where: str
    ) -> None:
        super().__init__(**where)
        self.memory_format = MEMORY_FORMATS[layout]
        self.net = _network().to(memory_format=self.memory_format)
        state = {name: torch.from_numpy(array) for name, array in problem.to_channels_first(weights).items()}
        self.net.load_state_dict(state)
        self.net.to(self.device)
        if compiled:
            torch.compiler.reset()  # of what was compiled for another batch size: after a few it would give up
        self.call = torch.compile(self.net, mode=compiled, dynamic=False) if compiled else self.net
        self.loss = nn.CrossEntropyLoss()
        self.sgd = torch.optim.SGD(
            self.net.parameters(), problem.LR, problem.MOMENTUM, weight_decay=problem.WEIGHT_DECAY, fused=True
        )

    def load(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x = _images(x, self.memory_format).to(self.device)
        self.y = torch.from_numpy(y).to(self.device)

    def set_dropout(self, p: float) -> None:
        for module in self.net.modules():
            if isinstance(module, nn.Dropout):
                module.p = p

    def infer(self) -> Any:
        self._set_training(False)
        with torch.inference_mode(), self.autocast():
            return self.call(self.x)

    def logits(self) -> np.ndarray:
        return _array(self.infer())

    def step(self) -> Any:
        loss = self._backward()
        self.sgd.step()
        return loss

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        loss = float(self._backward())
        gradients = {name: _array(p.grad) for name, p in self.net.named_parameters()}
        return loss, problem.from_channels_first(gradients)

    def weights(self) -> dict[str, np.ndarray]:
        return problem.from_channels_first({name: _array(w) for name, w in self.net.state_dict().items()})

    def _backward(self) -> Any:
        self._set_training(True)
        self.sgd.zero_grad(set_to_none=True)
        with self.autocast():
            loss = self.loss(self.call(self.x), self.y)
        loss.backward()
        return loss.detach()

    def _set_training(self, training: bool) -> None:
        """Only where it changes, as in a loop over batches: PyTorch goes through all modules each time."""
        if self.net.training != training:
            self.net.train(training)


class LayerTask(Device):
    """One layer alone. In bfloat16 as autocast has it in a network: activations are bfloat16, but for the images, and
    weights float32, which each forward rounds.
    """

    def __init__(
        self,
        layer: problem.Layer,
        data: dict[str, np.ndarray],
        layout: str = "default",
        compiled: str = "",
        **where: str,
    ) -> None:
        super().__init__(**where)
        memory_format = MEMORY_FORMATS[layout]
        images = layer.kind != "linear"
        tensors = {name: torch.from_numpy(array) for name, array in data.items()}
        if images:
            tensors |= {name: _images(data[name], memory_format) for name in ("x", "dy")}
        dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        self.x = tensors["x"].to(self.device, torch.float32 if layer.first else dtype)
        self.dy = tensors["dy"].to(self.device, dtype)
        self.wanted = {} if layer.first else {"dx": self.x.requires_grad_()}
        if layer.kind == "pool":
            self.module: nn.Module = nn.MaxPool2d(3, stride=2)
        else:
            self.module = (_conv(layer) if images else nn.Linear(*layer.w)).to(memory_format=memory_format)
            w = tensors["w"].permute(3, 2, 0, 1) if images else tensors["w"].T
            self.module.load_state_dict({"weight": w, "bias": tensors["b"]})
            self.module.to(self.device)
            self.wanted |= {"dw": self.module.weight, "db": self.module.bias}

    def forward(self) -> None:
        with self.autocast():
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
        return {name: _array(tensor) for name, tensor in results.items()}


def ceilings(device: str, size: int = 8192, mib: int = 1024, seconds: float = 1.0) -> dict[str, Any]:
    """What the device is, the FLOP/s of a large square product in each precision, the bytes/s of a large copy."""
    where = Device(device)
    finish = getattr(where, "finish", lambda: None)

    def quickest(action: Callable[[], Any]) -> float:
        action()
        finish()
        times: list[float] = []
        while not times or sum(times) < seconds:
            start = perf_counter()
            action()
            finish()
            times.append(perf_counter() - start)
        return min(times)

    gemm = {}
    for precision in ("float32", "tf32", "bfloat16"):
        _allow_tf32(precision == "tf32")
        a, b = torch.randn(2, size, size, device=device, dtype=torch.bfloat16 if precision == "bfloat16" else None)
        out = torch.empty_like(a)
        gemm[precision] = 2 * size**3 / quickest(lambda a=a, b=b, out=out: torch.mm(a, b, out=out)) / 1e9
    source = torch.zeros(mib << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = 2 * len(source) / quickest(lambda: target.copy_(source)) / 1e9
    return {"gpu": _name(device), "gemm_gflops": gemm, "copy_gbs": copied}


def _name(device: str) -> str:
    if device != "cuda":
        return "none, but the CPU"
    properties = torch.cuda.get_device_properties(0)
    driver = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {driver}"


def _allow_tf32(allowed: bool) -> None:
    # By the older names: Inductor refuses the newer ones up to PyTorch 2.10 at least (pytorch#166387).
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


def _array(tensor: torch.Tensor) -> np.ndarray:
    """In main memory, with NumPy's dtypes."""
    return tensor.float().cpu().numpy()


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

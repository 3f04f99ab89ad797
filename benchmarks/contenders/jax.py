"""JAX: the network as a pure function on channels-last images, jitted; the step takes the parameters' memory over.

XLA sizes its thread pool by the cores that the process may use and by the variable NPROC (worker.py).
On a GPU it allocates as it goes, not most of the memory at once: what it takes is what it needs. It gives nothing back.
"""

import os
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import problem

IMAGES = ("NHWC", "HWIO", "NHWC")
PRODUCTS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"


class Device:
    """What a contender and a layer alone share: the platform, and the precision of products and activations."""

    def __init__(self, device: str = "cpu", precision: str = "float32") -> None:
        jax.config.update("jax_platforms", device)  # raises at the first array where there is none
        jax.config.update("jax_default_matmul_precision", PRODUCTS[precision])
        self.dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
        if device == "cuda":
            self.finish = lambda: jax.block_until_ready(self.begun)


class Contender(Device):
    def __init__(self, weights: dict[str, np.ndarray], **where: str) -> None:
        super().__init__(**where)
        self.parameters = {name: jnp.array(array) for name, array in weights.items()}
        self.velocities = jax.tree.map(jnp.zeros_like, self.parameters)
        self.key = jax.random.key(0)
        self.rate = problem.DROPOUT

    def load(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = jnp.array(x), jnp.array(y)

    def set_dropout(self, p: float) -> None:
        self.rate = p  # an argument of the compiled step: nothing is compiled again

    def infer(self) -> Any:
        self.begun = _logits(self.parameters, self.x, self.dtype)
        return self.begun if hasattr(self, "finish") else self.logits()

    def logits(self) -> np.ndarray:
        return np.asarray(_logits(self.parameters, self.x, self.dtype), np.float32)

    def step(self) -> Any:
        self.parameters, self.velocities, self.key, loss = _step(
            self.parameters, self.velocities, self.key, self.x, self.y, self.rate, self.dtype
        )
        self.begun = self.parameters
        return loss if hasattr(self, "finish") else float(jax.block_until_ready((loss, self.parameters))[0])

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        loss, gradients = _loss_and_gradients(self.parameters, self.x, self.y, self.key, self.rate, self.dtype)
        return float(loss), {name: np.asarray(gradient) for name, gradient in gradients.items()}

    def weights(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(array) for name, array in self.parameters.items()}


class LayerTask(Device):
    """One layer alone. Backward is the jitted vjp: XLA drops what it does not need of the forward inside.

    In bfloat16 as in the step below: activations are bfloat16, images and weights are rounded inside.
    """

    def __init__(self, layer: problem.Layer, data: dict[str, np.ndarray], **where: str) -> None:
        super().__init__(**where)
        self.inputs = {name: jnp.array(array) for name, array in data.items()}
        self.dy = self.inputs.pop("dy").astype(self.dtype)
        if not layer.first:
            self.inputs["x"] = self.inputs["x"].astype(self.dtype)
        # What no gradient is wanted of is a constant.
        self.constants = {"x": self.inputs.pop("x")} if layer.first else {}

        def forward(inputs: dict[str, Any], constants: dict[str, Any]) -> Any:
            given = inputs | constants
            return _apply(layer, **given | {"x": given["x"].astype(self.dtype)})

        def backward(inputs: dict[str, Any], constants: dict[str, Any], dy: Any) -> Any:
            return jax.vjp(lambda inputs: forward(inputs, constants), inputs)[1](dy)[0]

        self._forward, self._backward = jax.jit(forward), jax.jit(backward)

    def forward(self) -> None:
        self.y = self.begun = self._done(self._forward(self.inputs, self.constants))

    def backward(self) -> None:
        self.grads = self.begun = self._done(self._backward(self.inputs, self.constants, self.dy))

    def results(self) -> dict[str, np.ndarray]:
        results = {"y": self.y} | {f"d{name}": array for name, array in self.grads.items()}
        return {name: np.asarray(array, np.float32) for name, array in results.items()}

    def _done(self, arrays: Any) -> Any:
        return arrays if hasattr(self, "finish") else jax.block_until_ready(arrays)


def _apply(layer: problem.Layer, x: Any, w: Any = None, b: Any = None) -> Any:
    if layer.w:
        w, b = w.astype(x.dtype), b.astype(x.dtype)
    if layer.kind == "pool":
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")
    if layer.kind == "linear":
        return x @ w + b
    padding = [(layer.padding, layer.padding)] * 2
    return lax.conv_general_dilated(x, w, (layer.stride, layer.stride), padding, dimension_numbers=IMAGES) + b


def _network(parameters: Any, x: Any, key: Any, rate: Any) -> Any:
    for layer in problem.LAYERS:
        if layer.kind == "linear":
            x = x.reshape(x.shape[0], -1)
        if layer.dropout and rate is not None:
            key, now = jax.random.split(key)
            x = jnp.where(jax.random.bernoulli(now, 1 - rate, x.shape), x / (1 - rate), 0)
        x = _apply(layer, x, parameters.get(f"{layer.key}.weight"), parameters.get(f"{layer.key}.bias"))
        if layer.relu:
            x = jax.nn.relu(x)
    return x.astype(jnp.float32)


@partial(jax.jit, static_argnames="dtype")
def _logits(parameters: Any, x: Any, dtype: Any) -> Any:
    return _network(parameters, x.astype(dtype), None, None)


@partial(jax.jit, static_argnames="dtype")
def _loss_and_gradients(parameters: Any, x: Any, y: Any, key: Any, rate: Any, dtype: Any) -> Any:
    def loss(parameters: Any) -> Any:
        log_p = jax.nn.log_softmax(_network(parameters, x.astype(dtype), key, rate))
        return -jnp.take_along_axis(log_p, y[:, None], axis=1).mean()

    return jax.value_and_grad(loss)(parameters)


def _step_(parameters: Any, velocities: Any, key: Any, x: Any, y: Any, rate: Any, dtype: Any) -> Any:
    key, now = jax.random.split(key)
    loss, gradients = _loss_and_gradients(parameters, x, y, now, rate, dtype)
    velocities = jax.tree.map(
        lambda v, g, w: problem.MOMENTUM * v + (g + problem.WEIGHT_DECAY * w), velocities, gradients, parameters
    )
    parameters = jax.tree.map(lambda w, v: w - problem.LR * v, parameters, velocities)
    return parameters, velocities, key, loss


_step = jax.jit(_step_, donate_argnums=(0, 1, 2), static_argnames="dtype")

"""TensorFlow: one tf.function a step on channels-last images, the optimiser by TensorFlow's own fused kernel.

Written for speed: "SAME" padding, and tf.pad before the first layer, take 1.3 s where explicit paddings in the
convolutions take 1.9 (a step at batch 128, 2 cores). Compiled by XLA (jit_compile=True) it is slower on a CPU.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from .. import problem


def set_threads(threads: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


class Contender:
    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.parameters = {name: tf.Variable(array) for name, array in weights.items()}
        self.velocities = {name: tf.Variable(tf.zeros_like(w)) for name, w in self.parameters.items()}
        self.rate = tf.constant(problem.DROPOUT)
        self._logits = tf.function(self._network)
        self._loss_and_gradients = tf.function(self._traced_gradients)
        self._step = tf.function(self._traced_step)

    def load(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = tf.constant(x), tf.constant(y)

    def set_dropout(self, p: float) -> None:
        self.rate = tf.constant(p)  # an argument of the traced step: nothing is traced again

    def infer(self) -> np.ndarray:
        return self._logits(self.x).numpy()

    def step(self) -> float:
        return float(self._step(self.x, self.y, self.rate))

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        loss, gradients = self._loss_and_gradients(self.x, self.y, self.rate)
        return float(loss), {name: gradient.numpy() for name, gradient in gradients.items()}

    def weights(self) -> dict[str, np.ndarray]:
        return {name: w.numpy() for name, w in self.parameters.items()}

    def _network(self, x: Any, rate: Any = None) -> Any:
        for layer in problem.LAYERS:
            if layer.kind == "linear":
                x = tf.reshape(x, (x.shape[0], -1))
            if layer.dropout and rate is not None:
                x = tf.nn.dropout(x, rate)
            x = _apply(layer, x, self.parameters.get(f"{layer.key}.weight"), self.parameters.get(f"{layer.key}.bias"))
            if layer.relu:
                x = tf.nn.relu(x)
        return x

    def _traced_gradients(self, x: Any, y: Any, rate: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = self._network(x, rate)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        return loss, tape.gradient(loss, self.parameters)

    def _traced_step(self, x: Any, y: Any, rate: Any) -> Any:
        loss, gradients = self._traced_gradients(x, y, rate)
        for name, w in self.parameters.items():
            tf.raw_ops.ResourceApplyMomentum(
                var=w.handle,
                accum=self.velocities[name].handle,
                lr=problem.LR,
                grad=gradients[name] + problem.WEIGHT_DECAY * w,
                momentum=problem.MOMENTUM,
            )
        return loss


class LayerTask:
    """One layer alone. Backward calls the gradient kernels that TensorFlow's own tape would call."""

    def __init__(self, layer: problem.Layer, data: dict[str, np.ndarray]) -> None:
        self.layer = layer
        self.data = {name: tf.constant(array) for name, array in data.items()}
        self._forward = tf.function(lambda x, w, b: _apply(layer, x, w, b))
        self._backward = tf.function(self._traced_backward)

    def forward(self) -> None:
        self.y = self._forward(self.data["x"], self.data.get("w"), self.data.get("b"))

    def backward(self) -> None:
        self.grads = self._backward(self.data["x"], self.data.get("w"), self.y, self.data["dy"])

    def results(self) -> dict[str, np.ndarray]:
        return {"y": self.y.numpy()} | {name: array.numpy() for name, array in self.grads.items()}

    def _traced_backward(self, x: Any, w: Any, y: Any, dy: Any) -> Any:
        layer = self.layer
        if layer.kind == "pool":
            dx = tf.raw_ops.MaxPoolGrad(
                orig_input=x, orig_output=y, grad=dy, ksize=(1, 3, 3, 1), strides=(1, 2, 2, 1), padding="VALID"
            )
            return {"dx": dx}
        if layer.kind == "linear":
            dx, dw = tf.matmul(dy, w, transpose_b=True), tf.matmul(x, dy, transpose_a=True)
            return {"dx": dx, "dw": dw, "db": tf.reduce_sum(dy, 0)}
        x, padding = _padded(layer, x)
        how = {"strides": (1, layer.stride, layer.stride, 1), "padding": padding}
        dw = tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=layer.w, out_backprop=dy, **how)
        grads = {"dw": dw, "db": tf.raw_ops.BiasAddGrad(out_backprop=dy)}
        if not layer.first:
            grads["dx"] = tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=w, out_backprop=dy, **how)
        return grads


def _apply(layer: problem.Layer, x: Any, w: Any = None, b: Any = None) -> Any:
    if layer.kind == "pool":
        return tf.nn.max_pool2d(x, 3, 2, "VALID")
    if layer.kind == "linear":
        return tf.nn.bias_add(tf.matmul(x, w), b)
    x, padding = _padded(layer, x)
    return tf.nn.bias_add(tf.nn.conv2d(x, w, layer.stride, padding), b)


def _padded(layer: problem.Layer, x: Any) -> tuple[Any, str]:
    """The images and the padding that the convolution is to add: at stride 1 all of AlexNet's is "SAME"."""
    if layer.stride == 1:
        return x, "SAME"
    return tf.pad(x, [[0, 0], [layer.padding] * 2, [layer.padding] * 2, [0, 0]]), "VALID"

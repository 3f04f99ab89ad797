"""NumPy done plainly, as in many a blog: im2col and matrix products over the whole batch, channels first."""

import numpy as np

from .. import problem


class Contender:
    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.parameters = problem.to_channels_first(weights)
        self.velocities = {name: np.zeros_like(w) for name, w in self.parameters.items()}
        self.rng = np.random.default_rng(0)
        self.rate = problem.DROPOUT

    def load(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = np.ascontiguousarray(x.transpose(0, 3, 1, 2)), y

    def set_dropout(self, p: float) -> None:
        self.rate = p

    def infer(self) -> np.ndarray:
        return self._forward(training=False)[0]

    def step(self) -> float:
        loss, gradients = self._backward()
        for name, w in self.parameters.items():
            v = self.velocities[name]
            v *= problem.MOMENTUM
            v += gradients[name] + problem.WEIGHT_DECAY * w
            w -= problem.LR * v
        return loss

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        loss, gradients = self._backward()
        return loss, problem.from_channels_first(gradients)

    def weights(self) -> dict[str, np.ndarray]:
        return problem.from_channels_first(self.parameters)

    def _forward(self, training: bool) -> tuple[np.ndarray, list[tuple]]:
        x, saved = self.x, []
        for layer in problem.LAYERS:
            w, b = (self.parameters.get(f"{layer.key}.{kind}") for kind in ("weight", "bias"))
            mask = None
            if layer.kind == "linear":
                shape = x.shape
                x = x.reshape(len(x), -1)
                if layer.dropout and training:
                    mask = (self.rng.random(x.shape, dtype=np.float32) >= self.rate) * np.float32(1 / (1 - self.rate))
                    x = x * mask
                y, kept = x @ w.T + b, (x, shape)
            elif layer.kind == "conv":
                y, kept = conv_forward(x, w, b, layer.stride, layer.padding)
            else:
                y, kept = pool_forward(x)
            if layer.relu:
                y = np.maximum(y, 0)
            if training:
                saved.append((layer, y, mask, kept))
            x = y
        return x, saved

    def _backward(self) -> tuple[float, dict[str, np.ndarray]]:
        logits, saved = self._forward(training=True)
        loss, dy = cross_entropy(logits, self.y)
        gradients = {}
        while saved:
            layer, y, mask, kept = saved.pop()
            if layer.relu:
                dy = dy * (y > 0)
            if layer.kind == "pool":
                dy = pool_backward(dy, *kept)
                continue
            w = self.parameters[f"{layer.key}.weight"]
            if layer.kind == "conv":
                dy, dw, db = conv_backward(dy, w, *kept, layer.stride, layer.padding, input_grad=not layer.first)
            else:
                x, shape = kept
                dw, db = dy.T @ x, dy.sum(axis=0)
                dy = dy @ w
                if mask is not None:
                    dy = dy * mask
                dy = dy.reshape(shape)
            gradients[f"{layer.key}.weight"], gradients[f"{layer.key}.bias"] = dw, db
        return loss, gradients


def im2col(x, size, stride):
    """(N, C, H, W) -> (N, C*size*size, OH*OW)"""
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
    N, C, OH, OW, _, _ = windows.shape
    return windows.transpose(0, 1, 4, 5, 2, 3).reshape(N, C * size * size, OH * OW), OH, OW


def conv_forward(x, w, b, stride, padding):
    N, O, size = len(x), len(w), w.shape[2]
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    cols, OH, OW = im2col(x, size, stride)
    y = w.reshape(O, -1) @ cols + b[:, None]
    return y.reshape(N, O, OH, OW), (cols, x.shape)


def conv_backward(dy, w, cols, shape, stride, padding, input_grad):
    (N, O, OH, OW), (C, size) = dy.shape, w.shape[1:3]
    flat = dy.reshape(N, O, OH * OW)
    dw = (flat @ cols.transpose(0, 2, 1)).sum(axis=0).reshape(w.shape)
    db = flat.sum(axis=(0, 2))
    if not input_grad:
        return None, dw, db
    dcols = (w.reshape(O, -1).T @ flat).reshape(N, C, size, size, OH, OW)
    dx = np.zeros(shape, np.float32)
    for u in range(size):
        for v in range(size):
            dx[:, :, u : u + OH * stride : stride, v : v + OW * stride : stride] += dcols[:, :, u, v]
    return dx[:, :, padding : shape[2] - padding, padding : shape[3] - padding], dw, db


def pool_forward(x):
    N, C, H, W = x.shape
    cols, OH, OW = im2col(x.reshape(N * C, 1, H, W), 3, 2)
    winners = cols.argmax(axis=1)
    y = np.take_along_axis(cols, winners[:, None], axis=1)
    return y.reshape(N, C, OH, OW), (winners, x.shape)


def pool_backward(dy, winners, shape):
    OH, OW = dy.shape[2:]
    dx = np.zeros(shape, np.float32)
    for window in range(9):
        u, v = divmod(window, 3)
        won = (winners == window).reshape(dy.shape)
        dx[:, :, u : u + OH * 2 : 2, v : v + OW * 2 : 2][:, :, :OH, :OW] += np.where(won, dy, 0)
    return dx


def cross_entropy(logits, labels):
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(p[rows, labels]).mean()
    p[rows, labels] -= 1
    return float(loss), p / np.float32(len(labels))

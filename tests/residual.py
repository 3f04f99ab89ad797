"""Layers as a user writes them: residual blocks, of a container and of a plain layer."""

import numpy as np

from alexnet_np.layers import Container, Conv2d, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential


class Residual(Sequential):
    """x + body(x), the body being its children."""

    def forward(self, x, training=False, keep=True, input_grad=True):
        return x + super().forward(x, training, keep, input_grad)

    def backward(self, dy, accumulate=False, input_grad=True):
        dx = super().backward(dy, accumulate, input_grad)
        return dx + dy if input_grad else None

    def output_shape(self, shape):
        return shape

    def to_onnx(self, graph, x, shape):
        return graph.node("Add", x, graph.layer(Sequential(*self.children.values()), x, shape))


class Block(Layer):
    """scale * x + body(x): a parameter and a layer as attributes, and the shortest signatures that will do."""

    def __init__(self, body, channels):
        super().__init__()
        self.body = body
        self.scale = self.new_parameter("scale", np.full(channels, 0.5, np.float32))

    def forward(self, x, training=False):
        return self.keep(self.scale.data * x + self.body.forward(x, training), x)

    def backward(self, dy, accumulate=False):
        x = self.recall(dy)
        dx = self.scale.data * dy + self.body.backward(dy, accumulate, input_grad=True)
        return self.write_grads(accumulate, dx, (dy * x).sum(axis=tuple(range(dy.ndim - 1))))

    def to_onnx(self, graph, x, shape):
        scale = graph.constant(self.scale.data.reshape(-1, 1, 1))
        return graph.node("Add", graph.node("Mul", x, scale), graph.layer(self.body, x, shape))


def body(channels, seed, inplace=True):
    rng = np.random.default_rng(seed)
    return (
        Conv2d(channels, channels, 3, padding=1, rng=rng),
        ReLU(inplace=inplace),
        Conv2d(channels, channels, 3, padding=1, rng=rng),
    )


def residual_network(seed=0, num_classes=3, size=64):
    """A Sequential with both blocks, for images of size x size pixels."""
    rng = np.random.default_rng(seed)
    return Sequential(
        Conv2d(3, 4, 8, stride=8, rng=rng),
        ReLU(inplace=True),
        Residual(*body(4, seed + 1)),
        Block(Sequential(*body(4, seed + 2)), 4),
        MaxPool2d(2),
        Flatten(),
        Linear(4 * (size // 16) ** 2, num_classes, rng=rng),
    )


class OwnNetwork(Container):
    """A container whose forward is its own: a stem, a branch that is added to it, and a head that is an attribute."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        super().__init__(stem=Conv2d(3, 4, 8, stride=8, rng=rng), branch=Sequential(*body(4, seed + 1)))
        self.head = Sequential(Flatten(), Linear(4 * 8 * 8, 3, rng=rng))

    def forward(self, x, training=False):
        y = self.children["stem"].forward(x, training)
        return self.head.forward(y + self.children["branch"].forward(y, training), training)

    def backward(self, dy, accumulate=False, input_grad=True):
        dy = self.head.backward(dy, accumulate)
        dy = dy + self.children["branch"].backward(dy, accumulate)
        return self.children["stem"].backward(dy, accumulate, input_grad)

    def output_shape(self, shape):
        return self.head.output_shape(self.children["stem"].output_shape(shape))

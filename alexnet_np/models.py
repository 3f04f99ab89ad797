"""The three networks that are called AlexNet, each readable from top to bottom.

                    alexnet                     alexnet_keras               alexnet_2012
    channels        64-192-384-256-256          64-192-384-256-256          96-256-384-384-256
    first layer     pads 2: 56x56 from 227      valid: 55x55 from 227       pads 3 right, below: 55x55 from 224
    extras          any size from 63x63         softmax inside              groups, response norm
    dropout         before fc6 and fc7          before all three            after fc6 and fc7
    parameters      61,100,840                  61,100,840                  60,965,224

Sources: Krizhevsky, Sutskever & Hinton 2012 (ImageNet Classification with Deep Convolutional Neural
Networks); Krizhevsky 2014 (One weird trick), whose one-tower network torchvision and the Keras Sequential
follow; the original source code, released in 2025 by the Computer History Museum, for ``variant="code"``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import init as inits, weights
from .layers import (
    AdaptiveAvgPool2d,
    Container,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    Sequential,
    Softmax,
)
from .layers.arguments import integer, probability
from .layers.base import Shape


class Network(Container):
    """A whole network: images (N, H, W, 3) in, (N, num_classes) out."""

    takes = "images (N, H, W, 3)"
    input_grad = False  # nobody trains the images: backward ends at the first trainable layer

    def output_shape(self, shape: Shape) -> Shape:
        try:
            return super().output_shape(shape)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: expected {self.takes}, got {tuple(shape)}") from error

    def torch_state_dict(self) -> dict[str, np.ndarray]:
        """name -> NumPy array, with torchvision's names and layouts."""
        return weights.to_torch(self)

    def load_torch_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a torchvision state dict, of arrays or CPU tensors. Errors: see load_state_dict."""
        weights.load_torch(self, state)


class _Builder:
    """Hands every layer of a network its initialisation rule and the network's one generator."""

    # Section 5: "the neuron biases in the second, fourth, and fifth convolutional layers, as well as in
    # the fully-connected hidden layers" start at 1, the others at 0.
    PAPER_BIASES = (0, 1, 0, 1, 1, 1, 1, 0)
    # The original code's standard deviations: the paper says 0.01 throughout.
    CODE_STDS = (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)

    def __init__(self, seed: int, init: str) -> None:
        self.rng = np.random.default_rng(seed)
        stds = {"paper": (0.01,) * 8, "code": self.CODE_STDS}.get(init)
        if stds is None:
            rules = [inits.rule(init)] * 8
        else:
            rules = [inits.normal(std, bias) for std, bias in zip(stds, self.PAPER_BIASES, strict=True)]
        self._rules = iter(rules)

    def conv(self, *args: Any, **kwargs: Any) -> Conv2d:
        return Conv2d(*args, **kwargs, init=next(self._rules), rng=self.rng)

    def linear(self, in_features: int, out_features: int) -> Linear:
        return Linear(in_features, out_features, init=next(self._rules), rng=self.rng)

    def dropout(self, p: float, **kwargs: Any) -> Dropout:
        return Dropout(p, **kwargs, rng=self.rng)


class AlexNet(Network):
    """torchvision.models.alexnet."""

    model = "alexnet"  # as descriptions name it (weights/description.py)
    takes = "images (N, H, W, 3) of at least 63x63 pixels"

    def __init__(self, num_classes: int, dropout: float, seed: int, init: str) -> None:
        new = _Builder(seed, init)
        super().__init__(
            features=Sequential(
                new.conv(3, 64, kernel_size=11, stride=4, padding=2),
                ReLU(inplace=True),
                MaxPool2d(kernel_size=3, stride=2),
                new.conv(64, 192, kernel_size=5, padding=2),
                ReLU(inplace=True),
                MaxPool2d(kernel_size=3, stride=2),
                new.conv(192, 384, kernel_size=3, padding=1),
                ReLU(inplace=True),
                new.conv(384, 256, kernel_size=3, padding=1),
                ReLU(inplace=True),
                new.conv(256, 256, kernel_size=3, padding=1),
                ReLU(inplace=True),
                MaxPool2d(kernel_size=3, stride=2),
            ),
            avgpool=AdaptiveAvgPool2d((6, 6)),
            flatten=Flatten(listed=False),
            classifier=Sequential(
                new.dropout(dropout),
                new.linear(256 * 6 * 6, 4096),
                ReLU(inplace=True),
                new.dropout(dropout),
                new.linear(4096, 4096),
                ReLU(inplace=True),
                new.linear(4096, num_classes),
            ),
        )


class AlexNetKeras(Network):
    """The Keras Sequential at 227x227x3. forward returns probabilities; logits, what its softmax takes."""

    model = "alexnet_keras"  # as descriptions name it (weights/description.py)
    takes = "images (N, 227, 227, 3)"
    keras_input_shape = (227, 227, 3)  # what a .keras file says of the input (weights/keras_files.py)

    def __init__(self, num_classes: int, dropout: float, seed: int, init: str) -> None:
        new = _Builder(seed, init)
        super().__init__(
            conv2d=new.conv(3, 64, kernel_size=11, stride=4),
            relu=ReLU(inplace=True),
            max_pooling2d=MaxPool2d(kernel_size=3, stride=2),
            conv2d_1=new.conv(64, 192, kernel_size=5, padding=2),
            relu_1=ReLU(inplace=True),
            max_pooling2d_1=MaxPool2d(kernel_size=3, stride=2),
            conv2d_2=new.conv(192, 384, kernel_size=3, padding=1),
            relu_2=ReLU(inplace=True),
            conv2d_3=new.conv(384, 256, kernel_size=3, padding=1),
            relu_3=ReLU(inplace=True),
            conv2d_4=new.conv(256, 256, kernel_size=3, padding=1),
            relu_4=ReLU(inplace=True),
            max_pooling2d_2=MaxPool2d(kernel_size=3, stride=2),
            flatten=Flatten(),
            dropout=new.dropout(dropout),
            dense=new.linear(6 * 6 * 256, 4096),
            relu_5=ReLU(inplace=True),
            dropout_1=new.dropout(dropout),
            dense_1=new.linear(4096, 4096),
            relu_6=ReLU(inplace=True),
            dropout_2=new.dropout(dropout),
            dense_2=new.linear(4096, num_classes),
            softmax=Softmax(),
        )


class AlexNet2012(Network):
    """The network of 2012: two towers (groups), response norm. ``variant``: as in the paper, or as in its code."""

    model = "alexnet_2012"  # as descriptions name it (weights/description.py)
    takes = "images (N, 224, 224, 3) or (N, 227, 227, 3)"

    def __init__(self, variant: str, num_classes: int, dropout: float, seed: int, init: str) -> None:
        self.variant = variant
        new = _Builder(seed, init)
        features = self._paper_features(new) if variant == "paper" else self._code_features(new)
        super().__init__(
            features=features,
            flatten=Flatten(),
            classifier=Sequential(
                new.linear(256 * 6 * 6, 4096),
                ReLU(inplace=True),
                new.dropout(dropout, inverted=False),  # section 4.2: outputs are halved at test time
                new.linear(4096, 4096),
                ReLU(inplace=True),
                new.dropout(dropout, inverted=False),
                new.linear(4096, num_classes),
            ),
        )

    # 224 pixels give 55 windows only with 3 pixels of padding, which the code puts on the right and below.
    # At 227 the windows end with the image and no padding is seen: Caffe's network.
    FIRST_PADDING = ((0, 3), (0, 3))

    @classmethod
    def _paper_features(cls, new: _Builder) -> Sequential:
        """Sections 3.1 to 3.5. The formula of 3.3 does not divide alpha."""
        return Sequential(
            new.conv(3, 96, kernel_size=11, stride=4, padding=cls.FIRST_PADDING),
            ReLU(inplace=True),
            LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2, divide_alpha=False),
            MaxPool2d(kernel_size=3, stride=2),
            new.conv(96, 256, kernel_size=5, padding=2, groups=2),
            ReLU(inplace=True),
            LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2, divide_alpha=False),
            MaxPool2d(kernel_size=3, stride=2),
            new.conv(256, 384, kernel_size=3, padding=1),
            ReLU(inplace=True),
            new.conv(384, 384, kernel_size=3, padding=1, groups=2),
            ReLU(inplace=True),
            new.conv(384, 256, kernel_size=3, padding=1, groups=2),
            ReLU(inplace=True),
            MaxPool2d(kernel_size=3, stride=2),
        )

    @classmethod
    def _code_features(cls, new: _Builder) -> Sequential:
        """layers-145.cfg: norms within a tower, ReLU after pooling in layers 1 and 5, a norm over space in layer 2."""
        return Sequential(
            new.conv(3, 96, kernel_size=11, stride=4, padding=cls.FIRST_PADDING),
            LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2, groups=2),
            MaxPool2d(kernel_size=3, stride=2, ceil_mode=True, ties="all"),
            ReLU(inplace=True),
            new.conv(96, 256, kernel_size=5, padding=2, groups=2),
            ReLU(inplace=True),
            LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2, groups=2),
            LocalResponseNorm(5, alpha=1e-3, beta=0.75, k=1, across="space"),
            MaxPool2d(kernel_size=3, stride=2, ceil_mode=True, ties="all"),
            new.conv(256, 384, kernel_size=3, padding=1),
            ReLU(inplace=True),
            new.conv(384, 384, kernel_size=3, padding=1, groups=2),
            ReLU(inplace=True),
            new.conv(384, 256, kernel_size=3, padding=1, groups=2),
            MaxPool2d(kernel_size=3, stride=2, ceil_mode=True, ties="all"),
            ReLU(inplace=True),
        )


def alexnet(num_classes: int = 1000, dropout: float = 0.5, seed: int = 0, init: str = "torch") -> AlexNet:
    """torchvision's AlexNet, for images from 63x63 pixels. 61,100,840 parameters with 1000 classes.

    ``seed`` fixes weights and dropout masks; ``init`` names how weights start (alexnet_np.init), here
    and below also "paper" and "code" with the 2012 network's biases.
    """
    return AlexNet(*_checked("alexnet", num_classes, dropout), seed, init)


def alexnet_keras(num_classes: int = 1000, dropout: float = 0.5, seed: int = 0, init: str = "keras") -> AlexNetKeras:
    """The Keras Sequential, for images of 227x227 pixels. 61,100,840 parameters with 1000 classes.

    forward returns probabilities, as its softmax layer says; ``logits`` what the loss takes.
    """
    return AlexNetKeras(*_checked("alexnet_keras", num_classes, dropout), seed, init)


def alexnet_2012(
    variant: str = "paper", num_classes: int = 1000, dropout: float = 0.5, seed: int = 0, init: str | None = None
) -> AlexNet2012:
    """The network of 2012, for images of 224x224 pixels. 60,965,224 parameters with 1000 classes.

    ``variant``: "paper" as the paper describes it, "code" as the released code has it; ``init`` defaults
    to the same. docs/alexnets.md lists the differences.
    """
    if variant not in ("paper", "code"):
        raise ValueError(f"alexnet_2012: variant: expected 'paper' or 'code', got {variant!r}")
    return AlexNet2012(variant, *_checked("alexnet_2012", num_classes, dropout), seed, init or variant)


def _checked(where: str, num_classes: int, dropout: float) -> tuple[int, float]:
    return integer(where, "num_classes", num_classes), probability(where, "dropout", dropout)

"""What a network makes of images: loss, top-1 and top-5, accuracy by class, confusion matrix."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from . import losses
from .backend import to_numpy
from .inference import Inference
from .layers import Container, Layer
from .step import NotFiniteError


@dataclass(frozen=True)
class Evaluation:
    """Mean loss, and shares of right answers from 0 to 1.

    ``confusion`` (K, K) counts the images of each class (row) by the class that they were taken for
    (column). Of equally likely classes that is the first; ``top1`` counts such a draw as wrong.
    """

    images: int
    loss: float
    top1: float
    top5: float
    confusion: np.ndarray = field(repr=False, compare=False)

    @property
    def class_accuracy(self) -> np.ndarray:
        """The share of each class's images that were taken for it, (K,); NaN where there is no image."""
        images = self.confusion.sum(axis=1)
        return np.where(images > 0, self.confusion.diagonal() / np.maximum(images, 1), np.nan)


# That answers are finite is looked at here: no need of NumPy's warnings on top of it.
@np.errstate(over="ignore", invalid="ignore")
def evaluate(net: Container, batches: Iterable[tuple[Any, Any]]) -> Evaluation:
    """The network's answers to batches of normalised images and labels, as ``Loader.batches`` gives them.

    Where each image comes in several views, (N, views, H, W, 3), the mean of their probabilities is the answer.
    NotFiniteError where the network answers NaN or infinity: then no image is right, and none is wrong.
    """
    if isinstance(net, Layer) and not isinstance(net, Container):
        raise TypeError(
            f"evaluate: net: expected a network or another Container, got {type(net).__name__} (layers.Sequential "
            "makes one of layers)"
        )
    answer = Inference(net)
    images = top1 = top5 = 0
    loss_sum = 0.0
    confusion = np.zeros((0, 0), np.int64)
    for x, labels in batches:
        if x.dtype == np.uint8:
            raise TypeError("evaluate: batches: expected normalised images, got bytes: put a Transfer between")
        logits = answer(x) if x.ndim == 4 else _of_views(answer, x)
        if not images:
            confusion = np.zeros(2 * logits.shape[1:], np.int64)
        loss, _ = losses.softmax_cross_entropy(logits, labels)
        loss_sum += float(loss) * len(labels)
        top1 += int(losses.top_k_correct(logits, labels, 1).sum())
        top5 += int(losses.top_k_correct(logits, labels, 5).sum())
        images += len(labels)
        np.add.at(confusion, (to_numpy(labels), to_numpy(logits).argmax(axis=1)), 1)
    if images == 0:
        raise ValueError("evaluate: batches: expected at least one, got none")
    if not isfinite(loss_sum):
        raise NotFiniteError(f"the network's answers to {images} images: expected finite numbers, got NaN or infinity")
    return Evaluation(images, loss_sum / images, top1 / images, top5 / images, confusion)


def _of_views(answer: Inference, x: Any) -> Any:
    """The logarithm of the mean probabilities, (N, num_classes): logits whose softmax they are."""
    N, views, *shape = x.shape
    backend = answer.net.backend
    each, _ = backend.kernels.softmax_forward(answer(x.reshape(N * views, *shape)))
    mean = each.reshape(N, views, -1).mean(axis=1)
    return backend.xp.log(mean.clip(np.finfo(mean.dtype).tiny))


@np.errstate(over="ignore", invalid="ignore")
def probabilities(net: Container, images: Any) -> np.ndarray:
    """What the network says of images (N, H, W, 3): (N, num_classes), in main memory. NotFiniteError as above."""
    logits = net.logits(net.backend.asarray(images, net.dtype), keep=False)
    shares = to_numpy(net.backend.kernels.softmax_forward(logits)[0])
    if not np.isfinite(shares).all():
        raise NotFiniteError("the network's answer: expected finite numbers, got NaN or infinity")
    return shares

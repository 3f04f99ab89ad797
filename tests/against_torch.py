"""What the tests against torch share: the way between the two layouts, and one measure of error."""

from typing import Any

import numpy as np
import torch


def relative_error(actual: Any, expected: Any) -> float:
    """|actual - expected| / |expected|, Euclidean norms over all elements; NaN where a shape or a NaN is wrong."""
    actual, expected = (
        a.detach() if isinstance(a, torch.Tensor) else torch.from_numpy(np.asarray(a)) for a in (actual, expected)
    )
    if actual.shape != expected.shape:
        return float("nan")
    distance = float(torch.linalg.vector_norm(actual - expected))
    return distance and distance / float(torch.linalg.vector_norm(expected))  # 0 where both are


def nchw(images: np.ndarray) -> torch.Tensor:
    """Images (N, H, W, C) as a torch tensor (N, C, H, W) in float64."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float64))


def nhwc(images: torch.Tensor) -> np.ndarray:
    """A torch tensor (N, C, H, W) as images (N, H, W, C)."""
    return images.detach().numpy().transpose(0, 2, 3, 1)


def torch_layout(array: np.ndarray, image: tuple[int, int, int] | None = None) -> np.ndarray:
    """A weight or its gradient as torch lays it out; ``image`` (H, W, C) for the linear layer behind a Flatten.

    Written here once more: what weights.py does is under test.
    """
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if image is not None:
        return array.reshape(*image, -1).transpose(3, 2, 0, 1).reshape(array.shape[1], -1)
    return array.T


def random_weights(module: torch.nn.Module, rng: np.random.Generator) -> None:
    """Fill a torch module with weights that keep the size of activations (He et al. 2015), and biases that matter.

    The values are exact in float32, so that networks of both dtypes can have them.
    """
    for parameter in module.parameters():
        values = rng.standard_normal(tuple(parameter.shape), dtype=np.float32)
        values *= np.float32(0.1 if values.ndim == 1 else np.sqrt(2 / values[0].size))
        parameter.data.copy_(torch.from_numpy(values))

"""A batch of pictures on a GPU, from bytes to what a network takes: images.cu."""

from typing import Any

import numpy as np

from ..array_module import array_module
from ..reference.geometry import Pair
from .launch import TYPES, contiguous, launch, rows


def cut_and_normalise(
    images: Any, corners: Any, mirrored: Any, size: Pair, mean: Any, std: Any, dtype: str = "float32"
) -> Any:
    """(x/255 - mean) / std of each colour, for a piece of each picture, mirrored left to right where that is said.

    images (N, H, W, 3) uint8, corners (N, 2) int32: the piece's first row and column, mirrored (N,) uint8 0 or 1  ->
    (N, *size, 3) of the dtype. The pieces have to lie inside the pictures: nobody looks, it would mean to wait.
    """
    xp, images = array_module(images), contiguous(images)
    N, H, W, _ = images.shape
    OH, OW = size
    real = TYPES[dtype][2]
    colours = np.zeros((), [("scale", real, 3), ("shift", real, 3)])
    colours["scale"], colours["shift"] = 1 / (255 * np.asarray(std)), np.asarray(mean) / np.asarray(std)
    y = xp.empty((N, OH, OW, 3), dtype)
    grid = rows(N * OH, OW * 3)
    launch("cut_and_normalise", y, 1, grid, images, corners, mirrored, y, N, H, W, OH, OW, colours)
    return y

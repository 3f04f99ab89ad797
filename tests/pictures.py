"""Small data sets that tests make for themselves."""

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet_np.layers import AdaptiveAvgPool2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential
from alexnet_np.models import Network

COLOURS = {"blue": (20, 60, 220), "green": (40, 200, 60), "red": (220, 40, 30)}


def colour(name: str, rng: np.random.Generator, height: int = 75, width: int = 90) -> np.ndarray:
    """A noisy picture of a colour, (height, width, 3) uint8."""
    noise = rng.normal(0, 25, (height, width, 3))
    return np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)


def write_class_folders(folder: Path, number: int, seed: int = 0) -> Path:
    """``number`` PNGs in each of the folders blue/, green/, red/."""
    rng = np.random.default_rng(seed)
    for name in COLOURS:
        (folder / name).mkdir(parents=True)
        for i in range(number):
            Image.fromarray(colour(name, rng)).save(folder / name / f"{i}.png")
    return folder


def write_noise(folder: Path, *names: str) -> Path:
    """Small images of noise, each another one, under these names: "train/cat/0.png"."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(name.encode(errors="surrogateescape")))
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    return folder


def idx_bytes(array: np.ndarray) -> bytes:
    """A uint8 array in IDX form."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_idx(folder: Path, part: str, images: np.ndarray, labels: np.ndarray, compressed: bool = True) -> None:
    """MNIST's pair of files for one part ("train", "t10k")."""
    folder.mkdir(exist_ok=True)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        content = idx_bytes(array)
        path = folder / f"{part}-{kind}-ubyte{'.gz' if compressed else ''}"
        path.write_bytes(gzip.compress(content) if compressed else content)


def small_network(num_classes: int = 3, dropout: float = 0.5, seed: int = 0, init: str = "torch") -> Network:
    """A network with every kind of layer that AlexNet has, for pictures from 63 pixels, that trains in an instant."""
    rng = np.random.default_rng(seed)
    return Network(
        features=Sequential(
            Conv2d(3, 8, 11, stride=8, init=init, rng=rng),
            ReLU(inplace=True),
            MaxPool2d(3, stride=2),
            AdaptiveAvgPool2d(2),
        ),
        flatten=Flatten(),
        classifier=Sequential(
            Dropout(dropout, rng=rng),
            Linear(32, 16, init=init, rng=rng),
            ReLU(inplace=True),
            Dropout(dropout, rng=rng),
            Linear(16, num_classes, init=init, rng=rng),
        ),
    )

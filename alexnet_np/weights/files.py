"""Files of weights: which kind one is, and the way to its reader and writer."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import written_whole
from . import keras_files, pth
from .layouts import load_arrays, to_torch
from .zips import ZIP_MAGIC

if TYPE_CHECKING:
    from ..layers import Container

Arrays = dict[str, np.ndarray] | list[np.ndarray]


def save(net: "Container", path: str | os.PathLike[str]) -> None:
    """Write the weights; the file appears whole or not at all.

    The end of the name says how: ``.safetensors``, with torchvision's names and layouts; ``.weights.h5``, for
    load_weights of a Keras model; ``.keras``, a Keras model, for alexnet_keras only.

    Raises OSError where it cannot be written, ValueError for another name, ModuleNotFoundError where h5py is missing.
    """
    for suffix, write in WRITERS.items():
        if Path(path).name.endswith(suffix):
            with writing(path) as unfinished:
                write(net, unfinished)
            return
    advice = " (weights.export_onnx writes ONNX)" if Path(path).suffix == ".onnx" else ""
    raise ValueError(f"weights: expected a name that ends in {', '.join(WRITERS)}, got {Path(path).name}{advice}")


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """written_whole, with a sentence where that fails."""
    try:
        with written_whole(path) as unfinished:
            yield unfinished
    except OSError as error:
        raise OSError(f"weights: {path} cannot be written ({error})") from error


def load(net: "Container", path: str | os.PathLike[str], strict: bool = True) -> list[str]:
    """Read a file of weights into the network; what it is, its content says.

    safetensors and torch's .pth with torchvision's names and layouts; Keras's .weights.h5, .keras and .h5. With
    ``strict=False`` a last layer for another number of classes keeps its own values, for fine-tuning. Returns the
    names of the parameters that were kept, with ``strict`` none.

    Raises FileNotFoundError, ValueError (not readable, other shapes), KeyError (other names) or ModuleNotFoundError
    (h5py is missing); the network is unchanged then.
    """
    return load_arrays(net, read(path), strict)


def read(path: str | os.PathLike[str]) -> Arrays:
    """name -> array as torchvision has them, or Keras's list of arrays. Errors: see load."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"weights: there is no file {path}")
    kind, reader = _kind(path)
    try:
        return reader(path)
    except ValueError as error:
        raise ValueError(f"weights: {path} cannot be read as {kind} ({error})") from error


def _kind(path: str | os.PathLike[str]) -> tuple[str, Callable[[Any], Arrays]]:
    """What a file is by its first bytes, in words, and its reader."""
    with open(path, "rb") as file:
        start = file.read(16)
        if start.startswith(keras_files.HDF5_MAGIC):
            return "Keras's HDF5", keras_files.read_h5
        if start.startswith(ZIP_MAGIC):
            if keras_files.is_archive(file):
                return "a Keras archive", keras_files.read_archive
            return "torch's zip file", pth.read
        if start.startswith(pth.LEGACY_MAGIC):
            return "a file of torch.save", pth.read
        if start[8:9] == b"{":  # behind the length of the header
            return "safetensors", _read_safetensors
    expected = "safetensors, torch's .pth, or Keras's .weights.h5, .keras or .h5"
    raise ValueError(f"weights: {path} is not a file of weights: expected {expected}")


def _read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, TypeError) as error:  # TypeError: a dtype that NumPy does not have
        raise ValueError(str(error)) from error


def _write_safetensors(net: "Container", path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    tensors = {name: np.ascontiguousarray(array) for name, array in to_torch(net).items()}
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error


WRITERS: dict[str, Callable[["Container", Path], None]] = {
    ".safetensors": _write_safetensors,
    ".weights.h5": keras_files.write_h5,
    ".keras": keras_files.write_archive,
}

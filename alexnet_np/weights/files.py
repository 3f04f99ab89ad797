"""Files of weights: which kind one is, and the way to its reader and writer."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import written_whole
from . import keras_files, keras_layers, pth, safetensors_files
from .description import Description
from .layouts import load_arrays, to_torch
from .zips import ZIP_MAGIC

if TYPE_CHECKING:
    from ..layers import Container

Arrays = dict[str, np.ndarray] | list[np.ndarray]


def save(net: "Container", path: str | os.PathLike[str], description: Description | None = None) -> None:
    """Write the weights; the file appears whole or not at all.

    The end of the name says how: ``.safetensors``, with torchvision's names and layouts; ``.weights.h5``, for
    load_weights of a Keras model; ``.keras``, a Keras model, for alexnet_keras only. A ``description`` is kept in a
    ``.safetensors`` file, which can then be used without anything else: ``read_description``.

    Raises OSError where it cannot be written, ValueError for another name, a description that such a file does not keep
    or another number of classes than it names, ModuleNotFoundError where h5py is missing.
    """
    name = Path(path).name
    if name.endswith(SAFETENSORS):
        num_classes = getattr(net, "num_classes", None)  # a layer of one's own at the end does not say
        if description is not None and num_classes not in (None, len(description.classes)):
            raise ValueError(f"description: classes: expected {num_classes} names, got {len(description.classes)}")
        metadata = {"format": "pt"} | (description.metadata() if description else {})
        with writing(path) as unfinished:
            safetensors_files.write(unfinished, to_torch(net), metadata)
        return
    for suffix, write in KERAS_WRITERS.items():
        if name.endswith(suffix):
            if description is not None:
                raise ValueError(f"weights: a {suffix} file keeps no description: expected None, or {SAFETENSORS}")
            with writing(path) as unfinished:
                write(net, unfinished)
            return
    advice = " (weights.export_onnx writes ONNX)" if Path(path).suffix == ".onnx" else ""
    expected = ", ".join((SAFETENSORS, *KERAS_WRITERS))
    raise ValueError(f"weights: expected a name that ends in {expected}, got {name}{advice}")


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

    safetensors and torch's .pth with torchvision's names and layouts; Keras's .weights.h5, .keras and .h5, whose layers
    are compared with the network's as far as the file describes them. With ``strict=False`` a last layer for another
    number of classes keeps its own values, for fine-tuning. Returns the names of the parameters that were kept, with
    ``strict`` none.

    Raises FileNotFoundError, ValueError (not readable, other shapes, other layers), KeyError (other names) or
    ModuleNotFoundError (h5py is missing); the network is unchanged then.
    """
    arrays = read(path)
    check_layers(net, path)
    return load_arrays(net, arrays, strict)


def read_description(path: str | os.PathLike[str]) -> Description | None:
    """What a safetensors file says of its network, classes and preparation; None where it says nothing, as other files.

    Raises FileNotFoundError, or ValueError where the file or its description is damaged, or newer than this package.
    """
    with _reading(path) as kind:
        if kind.name != "safetensors":
            return None
        return Description.from_metadata(safetensors_files.read_metadata(path))


def check_layers(net: "Container", path: str | os.PathLike[str]) -> None:
    """Compare the layers that a Keras file describes with the network's. ValueError where they compute something else.

    Other files say nothing of layers, and pass.
    """
    with _reading(path) as kind:
        described = kind.layers(path)
    if described is not None:
        keras_layers.compare(path, described, net)


def describes_layers(path: str | os.PathLike[str]) -> bool:
    """Whether this is a Keras model with its layers. Errors: see read."""
    with _reading(path) as kind:
        return kind.layers(path) is not None


def read(path: str | os.PathLike[str]) -> Arrays:
    """name -> array as torchvision has them, or Keras's list of arrays. Errors: see load."""
    with _reading(path) as kind:
        return kind.read(path)


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name in messages, its reader, and what reads the layers that it describes."""

    name: str
    read: Callable[[Any], Arrays]
    layers: Callable[[Any], keras_layers.Described | None] = lambda _: None


@contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[Kind]:
    """What a file is by its first bytes; what is wrong in it is said with its path."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"weights: there is no file {path}")
    kind = _kind(path)
    try:
        yield kind
    except ValueError as error:
        raise ValueError(f"weights: {path} cannot be read as {kind.name} ({error})") from error


def _kind(path: str | os.PathLike[str]) -> Kind:
    with open(path, "rb") as file:
        start = file.read(16)
        if start.startswith(keras_files.HDF5_MAGIC):
            return KERAS_HDF5
        if start.startswith(ZIP_MAGIC):
            return KERAS_ARCHIVE if keras_files.is_archive(file) else TORCH_ZIP
        if start.startswith(pth.LEGACY_MAGIC):
            return TORCH_STREAM
        if start[8:9] == b"{":  # after the length of the header
            return SAFETENSORS_FILE
    expected = "safetensors, torch's .pth, or Keras's .weights.h5, .keras or .h5"
    raise ValueError(f"weights: {path} is not a file of weights: expected {expected}")


SAFETENSORS = ".safetensors"
KERAS_WRITERS: dict[str, Callable[["Container", Path], None]] = {
    ".weights.h5": keras_files.write_h5,
    ".keras": keras_files.write_archive,
}

SAFETENSORS_FILE = Kind("safetensors", safetensors_files.read)
TORCH_ZIP = Kind("torch's zip file", pth.read)
TORCH_STREAM = Kind("a file of torch.save", pth.read)
KERAS_HDF5 = Kind("Keras's HDF5", keras_files.read_h5, keras_layers.of_h5)
KERAS_ARCHIVE = Kind("a Keras archive", keras_files.read_archive, keras_layers.of_archive)

"""Files of weights: which kind one is, and the way to its reader and writer."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import written_whole
from . import keras_child, keras_files, keras_hdf5, keras_layers, pth, safetensors_files
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
    or that is of another network, ModuleNotFoundError where h5py is missing.
    """
    name = Path(path).name
    if name.endswith(SAFETENSORS):
        if description is not None:
            description.check(net)
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
    return File(path).load_into(net, strict)


def read_description(path: str | os.PathLike[str]) -> Description | None:
    """What a file says of its network, classes and preparation; None where it says nothing.

    safetensors files may say it, and ONNX files, where the onnx package is installed. Raises FileNotFoundError, or
    ValueError where the file or its description is damaged, or newer than this package.
    """
    return onnx_description(path) if Path(path).suffix == ".onnx" else File(path).description


def onnx_description(path: str | os.PathLike[str]) -> Description | None:
    """read_description of an ONNX file; None without the onnx package."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"weights: there is no file {path}")
    if find_spec("onnx") is None:
        return None
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
        return Description.from_metadata({item.key: item.value for item in model.metadata_props})
    except (DecodeError, ValueError) as error:
        raise ValueError(f"weights: {path} cannot be read as ONNX ({error})") from error


def read(path: str | os.PathLike[str]) -> Arrays:
    """name -> array as torchvision has them, or Keras's list of arrays. Errors: see load."""
    return File(path).arrays


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name in messages, and its reader; None for Keras's, which ``keras_child`` reads."""

    name: str
    read: Callable[[Any], Arrays] | None

    @property
    def of_keras(self) -> bool:
        return self.read is None


class File:
    """A file of weights: its ``kind``, by its first bytes. What it holds is read when it is asked for, and once.

    Raises FileNotFoundError or ValueError where it is none; see load for what else may be wrong with it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"weights: there is no file {path}")
        self.path = path
        self.kind = _kind(path)

    @cached_property
    def description(self) -> Description | None:
        """What it says of its network, classes and preparation; None where it says nothing."""
        if self.kind is not SAFETENSORS_FILE:
            return None
        with self._reading():
            return Description.from_metadata(safetensors_files.read_metadata(self.path))

    @cached_property
    def layers(self) -> keras_layers.Layers | None:
        """The layers of a whole Keras model; None of other files."""
        with self._reading():
            config = self._of_keras.config if self.kind.of_keras else None
            where = keras_files.CONFIG if self.kind is KERAS_ARCHIVE else keras_hdf5.ATTRIBUTE
            return None if config is None else keras_layers.described(where, config)

    @cached_property
    def arrays(self) -> Arrays:
        """Its numbers: see read."""
        _ = self.layers  # which say best what no network here has
        with self._reading():
            if self.kind.read is not None:
                return self.kind.read(self.path)
            if self._of_keras.error is not None:
                raise self._of_keras.error
            return self._of_keras.arrays

    @cached_property
    def _of_keras(self) -> keras_child.Contents:
        return keras_child.read(self.path)

    def load_into(self, net: "Container", strict: bool = True) -> list[str]:
        """See load."""
        if self.layers is not None:
            keras_layers.compare(self.path, self.layers, net)
        arrays = self.arrays
        try:
            return load_arrays(net, arrays, strict)
        except (KeyError, ValueError) as error:
            kind = KeyError if isinstance(error, KeyError) else ValueError
            what = str(error.args[0]).removeprefix("weights: ")
            raise kind(f"weights: {self.path}: {what}{self.advice()}") from error

    def advice(self) -> str:
        """What to save instead, where the names of the tensors say it."""
        names = self.arrays if isinstance(self.arrays, Mapping) else {}
        if names and all(name.startswith("module.") for name in names):
            return " (its names begin with 'module.', as DataParallel's do: save net.module.state_dict() instead)"
        return ""

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What is wrong in it is said with its path."""
        try:
            yield
        except keras_files.OtherLayers as error:
            raise ValueError(f"weights: {self.path}: {error}") from error
        except ValueError as error:
            raise ValueError(f"weights: {self.path} cannot be read as {self.kind.name} ({error})") from error


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
KERAS_HDF5 = Kind("Keras's HDF5", None)
KERAS_ARCHIVE = Kind("a Keras archive", None)

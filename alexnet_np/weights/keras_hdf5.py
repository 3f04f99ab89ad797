"""What is in Keras's files, taken apart by h5py: in a process of its own, which may crash (keras_child.py).

What a file says of sizes is checked before memory is taken, and links that lead out of it are not followed.

Source: keras/src/saving/saving_lib.py and keras/src/legacy/saving/legacy_h5_format.py of Keras 3.
"""

import io
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from .keras_files import CONFIG, NAMES, OTHERS, WEIGHTS, WITHOUT_WEIGHTS, OtherLayers, import_h5py, numbered
from .zips import ZIP_MAGIC, member, members

MAX_CONFIG = 4_000_000  # bytes; AlexNet's has about 12,000
ATTRIBUTE = "model_config"
# h5py's, for what is not as it says.
DAMAGED = (AttributeError, IndexError, KeyError, OSError, OverflowError, RuntimeError, TypeError)


def open_file(file: BinaryIO) -> tuple[Any, str | None]:
    """The HDF5 part, and the description of the model in JSON, where there is one. ValueError."""
    h5py = import_h5py()
    size = os.fstat(file.fileno()).st_size
    zipped = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    file.seek(0)
    if zipped:
        with members(file) as archive:
            if CONFIG in archive.namelist() and archive.getinfo(CONFIG).file_size > MAX_CONFIG:
                raise ValueError(f"{CONFIG} has more than {MAX_CONFIG:,} bytes")
            text: Any = member(archive, CONFIG, MAX_CONFIG).decode(errors="replace")
            return h5py.File(io.BytesIO(member(archive, WEIGHTS, size)), "r"), text
    h5 = h5py.File(file, "r")
    if ATTRIBUTE not in h5.attrs:
        return h5, None
    if h5.attrs.get_id(ATTRIBUTE).shape != ():
        raise ValueError(f"{ATTRIBUTE}: expected one text")
    text = h5.attrs[ATTRIBUTE]
    if not isinstance(text, str | bytes) or len(text) > MAX_CONFIG:
        raise ValueError(f"{ATTRIBUTE}: expected a text of at most {MAX_CONFIG:,} bytes")
    return h5, text.decode(errors="replace") if isinstance(text, bytes) else text


def arrays(h5: Any, size: int) -> list[np.ndarray]:
    """Kernel and bias of every layer, in order; at most ``size`` bytes. ValueError, or one of DAMAGED."""
    top = _inside(h5, "model_weights") if "model_weights" in h5 else h5
    listed = "layer_names" in top.attrs
    whole = ATTRIBUTE in h5.attrs  # which says of its layers what they are: see keras_layers
    found = []
    for dataset in _keras2(top, whole) if listed else _keras3(top):
        if dataset.dtype.kind == "V" and dataset.dtype.itemsize == 2:  # NumPy has no such numbers
            raise ValueError(f"{dataset.name}: expected float16, float32 or float64, got bfloat16")
        if dataset.dtype.kind != "f" or dataset.dtype.itemsize > 8 or dataset.external or dataset.is_virtual:
            expected = "expected floating-point numbers in the file itself"
            why = ": a quantised model" if dataset.dtype.kind in "iu" and dataset.dtype.itemsize == 1 else ""
            raise ValueError(f"{dataset.name}: {expected}, got {dataset.dtype}{why}")
        size -= dataset.nbytes  # nothing is compressed in a file of Keras's
        if size < 0:
            raise ValueError(f"{dataset.name}: shape {dataset.shape} has more numbers than the file")
        found.append(np.asarray(dataset[()], dataset.dtype.newbyteorder("<"), order="C"))
    if not found:
        raise ValueError("there are no layers with weights in it")
    return found


def _keras3(h5: Any) -> Iterator[Any]:
    # The first files of this kind, by Keras 2.12, had another name for it.
    layers = _inside(h5, "_layer_checkpoint_dependencies" if "_layer_checkpoint_dependencies" in h5 else "layers")
    for name in layers:
        if re.sub(r"_\d+$", "", name) not in (*NAMES.values(), *WITHOUT_WEIGHTS):
            raise OtherLayers(f"layer {name[:200]!r} is of a kind that no network here has")
    for kind in NAMES.values():
        number = 0
        while (name := numbered(kind, number)) in layers:
            variables = _inside(layers, name, "vars")
            for index in range(len(variables)):
                yield _inside(variables, str(index))
            number += 1


def _keras2(h5: Any, whole: bool) -> Iterator[Any]:
    for layer in _texts(h5, "layer_names"):
        names = _texts(_inside(h5, layer), "weight_names")
        if not names and not whole and re.sub(r"_\d+$", "", layer) in OTHERS:
            raise OtherLayers(f"layer {layer[:200]!r} is of a kind that no network here has")
        for name in names:
            if re.sub(r":\d+$", "", name).rpartition("/")[2] not in ("kernel", "bias"):
                raise ValueError(f"layer {layer[:200]!r}: expected a kernel and a bias only, got {name[:200]!r}")
            yield _inside(h5, layer, *name.split("/"))


def _texts(group: Any, attribute: str) -> list[str]:
    return [text.decode() if isinstance(text, bytes) else str(text) for text in group.attrs[attribute]]


def _inside(group: Any, *path: str) -> Any:
    """What lies there; a link to elsewhere, or to another file, is refused."""
    h5py = import_h5py()
    for name in path:
        if group.get(name, getclass=True, getlink=True) is not h5py.HardLink:
            raise ValueError(f"expected {name[:200]!r} in {group.name}")
        group = group[name]
    return group

"""Checkpoints: files that are whole or not there, and a small ring of them.

    runs/digits/checkpoints/00000450.safetensors      after 450 steps
    runs/digits/checkpoints/00000500.safetensors

A checkpoint carries a checksum over all that is in it. Where the newest turns out to be damaged, the one
before it is taken: the training then repeats some steps, with the same bits.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import strict_json
from .files import written_whole
from .reading import checked, json_value

KEPT = 2
MAX_HEADER = 30_000_000  # bytes of names and state: the history of 50,000 epochs has 20 million


@dataclass(frozen=True)
class Checkpoint:
    """``state``, what JSON can hold; ``tensors``, arrays by names such as "net.features.0.weight"."""

    state: dict[str, Any]
    tensors: dict[str, np.ndarray]

    def part(self, kind: str) -> dict[str, np.ndarray]:
        """The tensors of a kind ("net", "velocity", "average"), by the name of the parameter."""
        parts = ((*name.partition("."), array) for name, array in self.tensors.items())
        return {name: array for its_kind, _, name, array in parts if its_kind == kind}

    def delivered_weights(self) -> dict[str, np.ndarray]:
        """What the run would deliver if it ended here: the average of the weights, if there is one."""
        return self.part("average") or self.part("net")


def write(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the file appears whole or not at all. OSError where it cannot be written."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    state = strict_json.dumps(checkpoint.state)
    metadata = {"trainer": state, "sha256": _digest(state, checkpoint.tensors)}
    try:
        with written_whole(path) as unfinished:
            save_file(checkpoint.tensors, unfinished, metadata)
    except (SafetensorError, OSError) as error:
        raise OSError(f"checkpoint {path} could not be written ({error})") from error


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint. FileNotFoundError, or ValueError for a file that is none or not whole."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint: there is no file {path}")
    try:
        with open(path, "rb") as start:
            if (length := int.from_bytes(start.read(8), "little")) > MAX_HEADER:
                raise ValueError(f"its header is said to have {length:,} bytes, more than {MAX_HEADER:,}")
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
        text, expected = metadata["trainer"], metadata["sha256"]
        # The last two are for tensors of dtypes that NumPy lacks.
    except (SafetensorError, KeyError, OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is not a checkpoint, or not a whole one ({error})") from error
    if _digest(text, tensors) != expected:
        raise ValueError(f"{path} is not a whole checkpoint (its checksum is another than when it was written)")
    try:
        state = checked(path, json_value(text), dict[str, Any])
    except ValueError as error:
        raise ValueError(f"{path} is not a checkpoint ({error})") from error
    return Checkpoint(state, tensors)


def save_in_ring(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write the checkpoint of a step into a folder, and remove what a kill left behind and all but the newest.

    Where the disk has no room for one more, the oldest goes before it is written: the newest stays in any case.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OSError(f"checkpoint: {folder} could not be made ({error})") from error
    for unfinished in folder.glob("[0-9]*.safetensors.part"):
        shutil.rmtree(unfinished)
    ring = in_ring(folder)
    if len(ring) == KEPT and shutil.disk_usage(folder).free < ring[-1].stat().st_size:
        ring[0].unlink()
    path = folder / f"{step:08}.safetensors"
    write(path, checkpoint)
    for old in in_ring(folder)[:-KEPT]:
        old.unlink()
    return path


def in_ring(folder: Path) -> list[Path]:
    """The checkpoints of a folder, the oldest first; other files, of a user say, are none."""
    return sorted(path for path in folder.glob("*.safetensors") if path.stem.isdecimal())


def newest_whole(folder: Path) -> tuple[Checkpoint, list[str]]:
    """The newest checkpoint that is whole, and a sentence on each newer one that is not.

    FileNotFoundError where there is no checkpoint, ValueError where none is whole.
    """
    damages: list[str] = []
    for path in reversed(in_ring(folder)):
        try:
            return read(path), damages
        except ValueError as error:
            damages.append(str(error))
    if damages:
        raise ValueError(f"there is no whole checkpoint in {folder}: {'; '.join(damages)}")
    raise FileNotFoundError(f"there is no checkpoint in {folder}")


def remove_after(folder: Path, step: int) -> None:
    """Remove the checkpoints of later steps, which a resume from this one skipped: they would crowd out whole ones."""
    for path in in_ring(folder):
        if int(path.stem) > step:
            path.unlink()


def remove_ring(folder: Path) -> None:
    """Remove the checkpoints of a run that is finished."""
    if folder.is_dir():
        shutil.rmtree(folder)


def _digest(state: str, tensors: dict[str, np.ndarray]) -> str:
    """Of the state, and of every tensor's name, dtype, shape and bytes."""
    digest = hashlib.sha256(state.encode())
    for name, array in sorted(tensors.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()

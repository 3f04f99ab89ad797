"""The folder of a training run, and networks opened from it or from a file of weights.

    runs/digits/run.json                  what was trained, on what and how
    runs/digits/history.csv               a line for each epoch
    runs/digits/checkpoint.safetensors    only while the run is not finished: to resume it
    runs/digits/weights.safetensors       when it is: torchvision's names and layouts
    runs/digits/figure.png

Every file appears whole or not at all.
"""

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, Self

from . import models, training, weights
from .data import Preparation
from .files import written_whole
from .training import Epoch, Recipe

RUNS = Path("runs")
SETTINGS, HISTORY, CHECKPOINT, WEIGHTS, FIGURE = (
    "run.json",
    "history.csv",
    "checkpoint.safetensors",
    "weights.safetensors",
    "figure.png",
)


def input_size(model: str) -> int | None:
    """The side of the images that a model takes; None where it takes any from 63 pixels."""
    return {"alexnet": None, "alexnet_keras": 227, "alexnet_2012": 224}[model]


def build(model: str, variant: str, num_classes: int, seed: int = 0, init: str | None = None) -> models.Network:
    """A network by name. ``variant`` is of "alexnet_2012"; ``init`` defaults to the network's own."""
    options: dict[str, Any] = {"num_classes": num_classes, "seed": seed}
    if model == "alexnet_2012":
        options["variant"] = variant
    if init is not None:
        options["init"] = init
    return getattr(models, model)(**options)


@dataclass(frozen=True)
class Settings:
    """What was trained (model, variant, classes), on what (data, preparation), and how (recipe)."""

    model: str
    variant: str
    classes: list[str]
    data: str
    preparation: Preparation
    recipe: Recipe

    def write(self, folder: Path) -> None:
        with written_whole(folder / SETTINGS) as unfinished:
            unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """From a run's folder. FileNotFoundError or ValueError where there are no such settings."""
        path = folder / SETTINGS
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is no folder of a training run: there is no {SETTINGS} in it")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values["preparation"] = Preparation(**values["preparation"])
            values["recipe"] = Recipe(**values["recipe"])
            return cls(**values)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}: cannot be understood ({error})") from error

    def build(self, init: str | None = None) -> models.Network:
        return build(self.model, self.variant, len(self.classes), self.recipe.seed, init)


def create_folder(folder: Path | None, name: str) -> Path:
    """Make the folder for a run: the one given, which must be new or empty; else runs/NAME, or NAME-2, -3, ..."""
    if folder is not None:
        if folder.is_dir() and any(folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty: a run needs a folder of its own")
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    number = 1
    while True:
        folder = RUNS / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir() or not folder.parent.is_dir():
                raise
            number += 1
        else:
            return folder


def discard_folder(folder: Path) -> None:
    """Remove the folder of a run that has come to nothing; one with a checkpoint or weights stays."""
    there = set(folder.iterdir())
    if there <= {folder / SETTINGS, folder / HISTORY}:
        for path in there:
            path.unlink()
        folder.rmdir()


def write_history(folder: Path, history: Sequence[Epoch]) -> None:
    with written_whole(folder / HISTORY) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Epoch)])
        writer.writerows(astuple(row) for row in history)


def latest(root: Path = RUNS) -> Path:
    """The run that was last written to."""
    runs = [path.parent for name in (WEIGHTS, CHECKPOINT) for path in root.glob(f"*/{name}")]
    if not runs:
        raise FileNotFoundError(f"there is no run in {root}/ yet: train one, or name a run or a file with --weights")
    return max(runs, key=lambda run: run.stat().st_mtime)


@dataclass(frozen=True)
class Trained:
    """A network with its weights, how it wants its images, and what its run says of classes and data, if it has one."""

    net: models.Network
    preparation: Preparation
    classes: list[str] | None
    data: str | None


def open_trained(path: str | os.PathLike[str], model: str = "alexnet", variant: str = "paper") -> Trained:
    """The network of a run's folder, finished or stopped, or of a file of weights.

    A file in a run's folder is read by the run's settings; any other as ``model``'s, with images prepared
    as torchvision's weights expect them. Raises FileNotFoundError, ValueError or KeyError.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if not path.is_dir() and not (folder / SETTINGS).is_file():
        arrays = weights.read(path)
        net = build(model, variant, weights.num_classes(arrays, path), init="zeros")
        weights.load_arrays(net, arrays)
        return Trained(net, Preparation.photographs(input_size(model) or 224), None, None)
    settings = Settings.read(folder)
    net = settings.build(init="zeros")
    if path.is_dir() and not (path / WEIGHTS).exists():
        training.load_checkpoint_weights(net, path / CHECKPOINT)
    else:
        weights.load(net, path / WEIGHTS if path.is_dir() else path)
    return Trained(net, settings.preparation, settings.classes, settings.data)

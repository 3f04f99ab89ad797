"""The folder of a training run, and networks opened from it or from a file of weights.

    runs/digits/config.toml               every setting; ``alexnet-np train --config`` takes it back
    runs/digits/run.json                  what was trained on what, the command that repeats it, versions
    runs/digits/history.csv               a line for each epoch
    runs/digits/confusion.csv, .png       the last test: true classes in rows, the network's in columns
    runs/digits/classes.csv               the last test: the accuracy of each class
    runs/digits/skipped.csv               pictures that could not be read, if there are any
    runs/digits/checkpoints/              only while the run is not finished: to resume it
    runs/digits/best-epoch-7.safetensors  the weights of the best epoch so far; on the way, of each checkpoint's, too
    runs/digits/weights.safetensors       when it is finished: torchvision's names and layouts
    runs/digits/figure.png
    runs/digits/events/                   with --tensorboard

Every file appears whole or not at all.
"""

import csv
import json
import os
import platform
import re
import shlex
import shutil
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, fields
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from . import __version__, checkpoints, models, weights
from .data import Preparation
from .doctor import THREAD_VARIABLES, usable_cores
from .files import written_whole
from .metrics import Evaluation
from .training import Epoch

RUNS = Path("runs")
CONFIG, SETTINGS = "config.toml", "run.json"
HISTORY, CONFUSION, CLASSES, SKIPPED = "history.csv", "confusion.csv", "classes.csv", "skipped.csv"
CHECKPOINTS, WEIGHTS = "checkpoints", "weights.safetensors"
BEST = re.compile(r"best-epoch-(\d+)\.safetensors")
FIGURE, CONFUSION_FIGURE, EVENTS = "figure.png", "confusion.png", "events"


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
    """What was trained (model, variant, classes), and on what (data, preparation): all that its weights need."""

    model: str
    variant: str
    classes: list[str]
    data: str
    preparation: Preparation

    def write(self, folder: Path, device: str) -> None:
        """Into a run's folder, with the command that repeats the run, and what it was made with."""
        command = f"alexnet-np train --config {shlex.quote(str(folder / CONFIG))}"
        values = {**asdict(self), "repeat": command, "made_with": versions(device)}
        with written_whole(folder / SETTINGS) as unfinished:
            unfinished.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """From a run's folder. FileNotFoundError or ValueError where there are no such settings."""
        path = folder / SETTINGS
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is no folder of a training run: there is no {SETTINGS} in it")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values = {field.name: values[field.name] for field in fields(cls)}
            return cls(**values | {"preparation": Preparation(**values["preparation"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}: cannot be understood ({error})") from error

    def build(self, seed: int = 0, init: str | None = None) -> models.Network:
        return build(self.model, self.variant, len(self.classes), seed, init)


def versions(device: str = "cpu") -> dict[str, str]:
    """Of what decides a run's bits: this package, Python, the libraries that compute, machine, threads, and the GPU."""
    libraries = {name: version(name) for name in ("numpy", "numba", "pillow")}
    return {
        "alexnet-np": __version__,
        "python": platform.python_version(),
        **libraries,
        "machine": f"{platform.machine()}, {platform.platform()}",
        "cores": str(usable_cores()),
        **{name: os.environ[name] for name in ("ALEXNET_NP_NUM_THREADS", *THREAD_VARIABLES) if name in os.environ},
        **(_gpu_versions() if device == "gpu" else {}),
    }


def _gpu_versions() -> dict[str, str]:
    cupy: Any = import_module("cupy")
    runtime = cupy.cuda.runtime
    return {
        "cupy": cupy.__version__,
        "cuda": f"runtime {runtime.runtimeGetVersion()}, driver {runtime.driverGetVersion()}",
        "gpu": runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode(),
    }


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
    if best_files(folder) or any((folder / name).exists() for name in (CHECKPOINTS, WEIGHTS)):
        return
    for name in (CONFIG, SETTINGS, HISTORY, CONFUSION, CLASSES, SKIPPED, FIGURE, CONFUSION_FIGURE):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / EVENTS, ignore_errors=True)
    with suppress(OSError):  # what is still there is not the run's
        folder.rmdir()


def best_path(folder: Path, epoch: int) -> Path:
    return folder / f"best-epoch-{epoch}.safetensors"


def best_files(folder: Path) -> dict[int, Path]:
    """The files of weights of epochs that are or were the best, by the epoch."""
    return {int(match[1]): path for path in folder.glob("*") if (match := BEST.fullmatch(path.name))}


def best_kept(folder: Path, history: Iterable[Epoch]) -> Epoch | None:
    """The best epoch of the history whose weights the folder has."""
    kept = best_files(folder)
    return max((line for line in history if line.epoch in kept), key=lambda line: line.rank, default=None)


def remove_best(folder: Path, keep: Container[int]) -> None:
    """Remove the files of best weights, but for those of some epochs."""
    for epoch, path in best_files(folder).items():
        if epoch not in keep:
            path.unlink()


def write_history(folder: Path, history: Sequence[Epoch]) -> None:
    _write_rows(folder / HISTORY, [field.name for field in fields(Epoch)], map(astuple, history))


def write_evaluation(folder: Path, classes: Sequence[str], result: Evaluation) -> None:
    """The confusion matrix, a row for each true class, and the accuracy of each class."""
    rows = ([name, *row] for name, row in zip(classes, result.confusion.tolist(), strict=True))
    _write_rows(folder / CONFUSION, ["class", *classes], rows)
    images, correct = result.confusion.sum(axis=1).tolist(), result.confusion.diagonal().tolist()
    accuracy = result.class_accuracy.tolist()
    _write_rows(
        folder / CLASSES,
        ["class", "images", "correct", "accuracy"],
        zip(classes, images, correct, accuracy, strict=True),
    )


def write_skipped(folder: Path, skipped: Mapping[str, str]) -> None:
    """Paths of pictures that could not be read, and why. Names that are no text keep their bytes."""
    _write_rows(folder / SKIPPED, ["picture", "reason"], skipped.items())


def read_skipped(folder: Path) -> dict[str, str]:
    """What ``write_skipped`` wrote; nothing where it has not."""
    if not (folder / SKIPPED).exists():
        return {}
    with (folder / SKIPPED).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {row["picture"]: row["reason"] for row in csv.DictReader(file)}


def _write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    try:
        with (
            written_whole(path) as unfinished,
            unfinished.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error})") from error


def latest(root: Path = RUNS) -> Path:
    """The run that was last written to."""
    runs = [path.parent for name in (WEIGHTS, CHECKPOINTS) for path in root.glob(f"*/{name}")]
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
        net.load_state_dict(checkpoints.newest_whole(path / CHECKPOINTS)[0].delivered_weights())
    else:
        weights.load(net, path / WEIGHTS if path.is_dir() else path)
    return Trained(net, settings.preparation, settings.classes, settings.data)

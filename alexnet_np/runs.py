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
    runs/digits/training.lock             only while a process trains: see run_lock

Every file appears whole or not at all.
"""

import csv
import os
import platform
import re
import shlex
import shutil
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from importlib import import_module
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any, Self

import numpy as np

from . import __version__, checkpoints, models, run_lock, strict_json, weights
from .data import DataError, Preparation, digests
from .doctor import THREAD_VARIABLES, usable_cores
from .files import make_folder, written_whole
from .metrics import Evaluation
from .reading import checked, json_value, printable, read_text, some_fields
from .training import Epoch, State
from .weights.description import MAX_PIXELS

RUNS = Path("runs")
CONFIG, SETTINGS = "config.toml", "run.json"
MAX_SETTINGS = 20_000_000  # bytes of run.json: a million names of classes
HISTORY, CONFUSION, CLASSES, SKIPPED = "history.csv", "confusion.csv", "classes.csv", "skipped.csv"
CHECKPOINTS, WEIGHTS = "checkpoints", "weights.safetensors"
BEST = re.compile(r"best-epoch-(\d+)\.safetensors")
FIGURE, CONFUSION_FIGURE, EVENTS = "figure.png", "confusion.png", "events"
SMALL_FILES = (CONFIG, SETTINGS, HISTORY, CONFUSION, CLASSES, SKIPPED, FIGURE, CONFUSION_FIGURE)


WITH_VARIANTS = "alexnet_2012"
INPUT_SIZES = {"alexnet": None, "alexnet_keras": 227, "alexnet_2012": 224}


def input_size(model: str) -> int | None:
    """The side of the images that a model takes; None where it takes any from 63 pixels."""
    return INPUT_SIZES[model]


def variant_of(model: str, variant: str | None) -> str | None:
    """The variant of a model, "paper" where none is named; None of models that have none."""
    return variant or "paper" if model == WITH_VARIANTS else None


def build(model: str, variant: str | None, num_classes: int, seed: int = 0, init: str | None = None) -> models.Network:
    """A network by name. ``variant`` is of "alexnet_2012"; ``init`` defaults to the network's own. ValueError."""
    if model not in INPUT_SIZES:
        raise ValueError(f"model: expected {', '.join(INPUT_SIZES)}, got {model!r:.200}")
    options: dict[str, Any] = {"num_classes": num_classes, "seed": seed}
    if model == WITH_VARIANTS:
        options["variant"] = variant_of(model, variant)
    if init is not None:
        options["init"] = init
    return getattr(models, model)(**options)


def chosen_model(model: str | None, variant: str | None, default: str = "alexnet") -> tuple[str, str | None]:
    """The model and the variant that --model and --variant ask for. ValueError for a variant of what has none."""
    model = model or default
    if variant is not None and model != WITH_VARIANTS:
        raise ValueError(f"--variant {variant}: expected {WITH_VARIANTS}, which has variants, got {model}")
    return model, variant_of(model, variant)


def confirmed_model(
    path: str | os.PathLike[str], description: weights.Description, model: str | None, variant: str | None
) -> tuple[str, str | None]:
    """The model and the variant of weights that say so. ValueError where --model or --variant contradicts."""
    if model is not None and model != description.model:
        raise ValueError(
            f"--model {model}: {path} says that it is of {printable(description.model):.200}: leave out --model"
        )
    chosen, _ = chosen_model(description.model, variant)
    own = variant_of(chosen, description.variant)
    if variant is not None and variant != own:
        raise ValueError(
            f"--variant {variant}: {path} says that it is of variant {printable(str(own)):.200}: leave out --variant"
        )
    return chosen, own


@dataclass(frozen=True)
class Settings:
    """What was trained (model, variant, classes), and on what (data, preparation): all that its weights need."""

    model: str
    variant: str | None
    classes: list[str]
    data: str
    preparation: Preparation

    def __post_init__(self) -> None:
        if self.model not in INPUT_SIZES:
            raise ValueError(f"model: expected {', '.join(INPUT_SIZES)}, got {self.model!r:.200}")
        if not self.classes:
            raise ValueError("classes: expected at least one name, got none")
        # The first versions wrote "paper" for every model.
        object.__setattr__(self, "variant", variant_of(self.model, self.variant))

    def write(self, folder: Path, device: str, data_digests: Mapping[str, str]) -> None:
        """Into a run's folder, with the command that repeats the run, what it was made with, and on (data.digests)."""
        command = f"alexnet-np train --config {shlex.quote(str(folder / CONFIG))}"
        values = {**asdict(self), "repeat": command, "made_with": versions(device), "data_digests": data_digests}
        with written_whole(folder / SETTINGS) as unfinished:
            unfinished.write_text(strict_json.dumps(values, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """From a run's folder. FileNotFoundError or ValueError where there are no such settings."""
        path = folder / SETTINGS
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is no folder of a training run: there is no {SETTINGS} in it")
        own: Self = checked(path, some_fields(_settings_json(path), [field.name for field in fields(cls)]), cls)
        return own

    def describe(self) -> weights.Description:
        """What its weights are to say of themselves. OSError or ValueError where the mean image cannot be read."""
        return weights.Description(self.model, self.variant, self.classes, self.preparation)

    def build(self, seed: int = 0, init: str | None = None) -> models.Network:
        return build(self.model, self.variant, len(self.classes), seed, init)


def data_digests(folder: Path) -> dict[str, str]:
    """What tells the data of a run from others (data.digests); nothing where the run does not say it."""
    path = folder / SETTINGS
    with suppress(OSError, ValueError):
        said = checked(path, some_fields(_settings_json(path), ["data_digests"]), dict[str, dict[str, str]])
        own: dict[str, str] = said.get("data_digests", {})
        return own
    return {}


def _settings_json(path: Path) -> Any:
    text = read_text(path, MAX_SETTINGS)
    try:
        return json_value(text)
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from error


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
    """Make the folder for a run: the one given, which must be new or empty; else runs/NAME, or NAME-2, -3, ...

    FolderInUseError where another process trains in the one given, other OSErrors where it cannot be made.
    """
    if folder is not None:
        if folder.is_dir() and any(path.name != run_lock.NAME for path in folder.iterdir()):
            if (folder / run_lock.NAME).exists():
                with run_lock.RunLock(folder):  # FolderInUseError
                    pass
            raise FileExistsError(f"{folder} is not empty: a run needs a folder of its own")
        make_folder(folder)
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
    for name in SMALL_FILES:
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


def read_history(folder: Path) -> list[Epoch]:
    """What ``write_history`` wrote; nothing where it has not, or where the file is not as it was written."""
    with (
        suppress(OSError, ValueError, TypeError, KeyError),
        (folder / HISTORY).open(newline="", encoding="utf-8") as file,
    ):
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        return [Epoch(int(row.pop("epoch")), **row) for row in rows]
    return []


def write_evaluation(folder: Path, classes: Sequence[str], result: Evaluation) -> None:
    """The confusion matrix, a row for each true class, and the accuracy of each class."""
    rows = ([name, *row] for name, row in zip(classes, result.confusion.tolist(), strict=True))
    _write_rows(folder / CONFUSION, ["class", *classes], rows)
    images, correct = result.confusion.sum(axis=1).tolist(), result.confusion.diagonal().tolist()
    accuracy = ["" if isnan(share) else share for share in result.class_accuracy.tolist()]  # of a class without images
    _write_rows(
        folder / CLASSES,
        ["class", "images", "correct", "accuracy"],
        zip(classes, images, correct, accuracy, strict=True),
    )


def remove_unfinished(folder: Path) -> list[str]:
    """Remove what a process that was killed had begun to write (see ``written_whole``); returns the names."""
    removed = []
    for path in sorted(folder.glob("*.part")):
        if path.is_dir() and (path.stem in (*SMALL_FILES, WEIGHTS) or BEST.fullmatch(path.stem)):
            shutil.rmtree(path)
            removed.append(path.name)
    return removed


def remove_leftovers(folder: Path) -> list[str]:
    """Remove what a run with its weights no longer needs, where it was killed before it did so; returns the names.

    The history is kept from the newest checkpoint, where there is none otherwise. OSError.
    """
    removed = remove_unfinished(folder)
    if (folder / CHECKPOINTS).is_dir():
        if not (folder / HISTORY).exists():
            with suppress(ValueError, FileNotFoundError):  # no whole checkpoint: then none has it
                checkpoint = checkpoints.newest_whole(folder / CHECKPOINTS)[0]
                write_history(folder, checked("checkpoint", checkpoint.state, State).history)
        checkpoints.remove_ring(folder / CHECKPOINTS)
        removed.append(f"{CHECKPOINTS}/")
    if best := best_kept(folder, read_history(folder)):
        removed += sorted(path.name for epoch, path in best_files(folder).items() if epoch != best.epoch)
        remove_best(folder, keep={best.epoch})
    return removed


def write_skipped(folder: Path, skipped: Mapping[str, str]) -> None:
    """Paths of pictures that could not be read, and why. Names that are no text keep their bytes."""
    _write_rows(folder / SKIPPED, ["picture", "reason"], skipped.items())


def read_skipped(folder: Path) -> dict[str, str]:
    """What ``write_skipped`` wrote; nothing where it has not."""
    if not (folder / SKIPPED).exists():
        return {}
    try:
        with (folder / SKIPPED).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return dict(list(csv.reader(file))[1:])  # ValueError where a line has not two columns
    except (csv.Error, ValueError) as error:
        what = f"is damaged ({error}): move it away to go on without it"
        raise DataError(f"{folder / SKIPPED} {what}") from error


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
    """A network with its weights, how it wants its images, and what its run says of classes and data, if it has one.

    ``description`` is what the file or its run says of all that; None where they say nothing, and ``assumed`` has what
    was taken for granted then: "model", "preparation". ``notes`` are sentences to tell a person.
    """

    net: models.Network
    preparation: Preparation
    classes: list[str] | None
    data: str | None
    description: weights.Description | None = None
    assumed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def open_trained(path: str | os.PathLike[str], model: str | None = None, variant: str | None = None) -> Trained:
    """The network of a run's folder, finished or stopped, or of a file of weights.

    A file that describes itself goes by that, wherever it lies; another one in a run's folder, by the run's settings.
    Any other is taken for ``model``'s (where none is given, alexnet_keras's for Keras's files, else alexnet's), with
    images prepared as torchvision's weights expect them. Raises FileNotFoundError, ValueError or KeyError, also where
    ``model`` or ``variant`` contradicts.
    """
    opened = _opened(Path(path))
    asked = model is not None
    model, variant = opened.choose(model, variant)
    if opened.file is None:
        return _open_stopped(opened)
    if opened.description is None:
        return _open_undescribed(opened.file, model, variant, asked)
    description, file = opened.description, opened.file
    size, number = description.preparation.size, len(description.classes)
    if not any(number in np.shape(array) for array in _values(file.arrays)):
        raise ValueError(f"{file.path} names {number} classes, but no tensor in it has so many rows")
    net = build(model, variant, number, init="zeros")
    try:
        net.output_shape((1, size, size, 3))
    except ValueError as error:
        raise ValueError(
            f"{path} describes images of {size}x{size} pixels, which do not fit {model} ({error})"
        ) from error
    _fill(net, file)
    data = opened.settings.data if opened.settings else None
    return Trained(net, description.preparation, list(description.classes), data, description, notes=opened.notes)


@dataclass(frozen=True)
class _Opened:
    """A file of weights, None of a stopped run, and what it says of itself, or the run for it.

    ``settings`` are those of the run it belongs to.
    """

    path: Path
    file: weights.File | None
    description: weights.Description | None
    settings: Settings | None
    notes: list[str]

    def choose(self, model: str | None, variant: str | None) -> tuple[str, str | None]:
        """The network: what the weights say, else what is asked for, else what such files mostly are of. ValueError."""
        if self.description is not None:
            return confirmed_model(self.path, self.description, model, variant)
        assert self.file is not None
        return chosen_model(model, variant, "alexnet_keras" if self.file.kind.of_keras else "alexnet")


def model_of(path: str | os.PathLike[str], model: str | None, variant: str | None) -> tuple[str, str | None]:
    """The model and the variant of weights, where --model and --variant ask for these. Errors: see open_trained."""
    return _opened(Path(path)).choose(model, variant)


def description_of(path: str | os.PathLike[str]) -> weights.Description | None:
    """What a run's folder or a file of weights says of its network, classes and preparation; None where nothing."""
    return _opened(Path(path)).description


def _opened(path: Path) -> _Opened:
    if path.is_dir() and not (path / WEIGHTS).exists():
        settings = Settings.read(path)
        return _Opened(path, None, settings.describe(), settings, [])
    folder, file = (path, weights.File(path / WEIGHTS)) if path.is_dir() else (path.parent, weights.File(path))
    own = file.description
    if own is None:
        if not path.is_dir() and not (folder / SETTINGS).is_file():
            return _Opened(path, file, None, None, [])
        settings = Settings.read(folder)
        notes = [] if path.is_dir() else [f"{path} does not describe itself: taken for weights of the run {folder}"]
        return _Opened(path, file, settings.describe(), settings, notes)
    try:
        settings = Settings.read(folder)
    except (FileNotFoundError, ValueError):
        return _Opened(path, file, own, None, [])
    if _same(settings, own):
        return _Opened(path, file, own, settings, [])
    note = f"{file.path} is not of the run {folder}: it goes by what it says itself"
    return _Opened(path, file, own, None, [f"{note} ({printable(own.model):.200}, {len(own.classes)} classes)"])


def _same(settings: Settings, description: weights.Description) -> bool:
    """Whether a run's settings and a description say the same; the run has the path of a mean image, and not itself."""
    ours, theirs = settings.preparation, description.preparation
    return (
        settings.model == description.model
        and settings.variant == variant_of(description.model, description.variant)
        and settings.classes == description.classes
        and (ours.mean_image is None) == (theirs.mean_image is None)
        and replace(ours, mean_image=None) == replace(theirs, mean_image=None)
    )


def _open_stopped(opened: _Opened) -> Trained:
    folder, settings, description = opened.path, opened.settings, opened.description
    assert settings is not None and description is not None
    checkpoint = checkpoints.newest_whole(folder / CHECKPOINTS)[0]
    state: State = checked(f"{folder}: checkpoint", checkpoint.state, State)
    if digests.of_preparation(settings.preparation) != state.data.get("preparation"):
        raise ValueError(f"{folder / SETTINGS}: images are prepared in another way than when the run began")
    net = settings.build(init="zeros")
    net.load_state_dict(checkpoint.delivered_weights())
    return Trained(net, description.preparation, settings.classes, settings.data, description)


def _open_undescribed(file: weights.File, model: str, variant: str | None, asked: bool) -> Trained:
    assumed = {}
    if file.layers is None and not asked:
        assumed["model"] = model
    if file.layers is None and file.kind.of_keras:
        assumed["layers"] = f"activations, strides and padding as {model} has them"
    arrays = file.arrays
    try:
        number = weights.num_classes(arrays, file.path)
    except ValueError as error:
        raise ValueError(f"{error}{file.advice()}") from error
    net = build(model, variant, number, init="zeros")
    _fill(net, file)
    preparation = Preparation.photographs(_side(file) or input_size(model) or 224)
    assumed["preparation"] = preparation.in_words()
    return Trained(net, preparation, None, None, assumed=assumed)


def _side(file: weights.File) -> int | None:
    """Of the images that a whole Keras model takes; None where they may be of any size, or the file does not say."""
    image = file.layers.image if file.layers else None
    if image is None:
        return None
    if image != (image[0], image[0], 3) or image[0] > MAX_PIXELS:
        expected = f"square images of 3 colours and at most {MAX_PIXELS} pixels a side"
        raise ValueError(f"{file.path}: expected {expected}, got {image!r:.200}")
    return image[0]


def _fill(net: models.Network, file: weights.File) -> None:
    file.load_into(net)
    for parameter in net.parameters():
        if not np.isfinite(parameter.data).all():
            raise ValueError(f"{file.path}: {parameter.name}: expected finite numbers, got NaN or infinity")


def _values(arrays: weights.Arrays) -> Iterable[np.ndarray]:
    return arrays.values() if isinstance(arrays, Mapping) else arrays

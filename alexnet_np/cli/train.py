"""Train AlexNet, by default on 1,797 real handwritten digits: no download, a few minutes on two cores.

The result is a folder, runs/NAME: weights.safetensors, history.csv and figure.png. Ctrl-C stops after the
step in hand and leaves a checkpoint that --resume continues from, with the same result as without the stop.
"""

import argparse
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, fields, replace
from importlib.util import find_spec
from math import log
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from .common import (
    MODELS,
    VARIANTS,
    UserError,
    add_device,
    add_json,
    amount,
    count,
    natural,
    print_json,
    sentences,
)

if TYPE_CHECKING:
    from ..data import Data
    from ..runs import Settings
    from ..training import Epoch, Progress, Trainer

CHECKPOINT_SECONDS = 600  # between the checkpoints of a run that is not stopped, written when an epoch ends

RECIPE_ARGUMENTS = {
    "epochs": (count, "N", "passes over the training pictures"),
    "batch_size": (count, "N", "pictures in a step"),
    "lr": (amount, "RATE", "highest learning rate"),
    "momentum": (amount, "M", "of SGD"),
    "weight_decay": (amount, "D", "of SGD, on all parameters"),
    "warmup": (natural, "EPOCHS", "in which the learning rate rises; it falls along half a cosine after them"),
    "seed": (natural, "N", "of weights, order, crops and dropout"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="a folder of class folders with pictures (split into train/ and val/, or a fifth is held out), or of IDX "
        "files as of MNIST (default: scikit-learn's digits)",
    )
    parser.add_argument("--model", choices=MODELS, help="(default: alexnet, as torchvision has it)")
    parser.add_argument(
        "--variant", choices=VARIANTS, help="of alexnet_2012: the paper's or its code's (default: paper)"
    )
    parser.add_argument(
        "--size", type=count, metavar="PIXELS", help="of a side (default: 64 for digits and IDX files, 224 for others)"
    )
    recipe = parser.add_argument_group("recipe")
    defaults = _recipe_defaults()
    for name, (kind, metavar, text) in RECIPE_ARGUMENTS.items():
        flag = f"--{name.replace('_', '-')}"
        recipe.add_argument(flag, type=kind, metavar=metavar, help=f"{text} (default: {defaults[name]})")
    run = parser.add_argument_group("run")
    run.add_argument(
        "--out", type=Path, metavar="FOLDER", help="for the result (default: runs/NAME, by the data's name)"
    )
    run.add_argument("--resume", type=Path, metavar="RUN", help="continue a run that was stopped, with its settings")
    add_device(run)
    add_json(run)


def run(args: argparse.Namespace) -> int:
    from .. import backend, runs, training

    say = Say(args.json)
    with sentences():
        backend.get(args.device)  # before the slow part
        if args.resume is None:
            settings, data = _new_run(args)
        else:
            settings, data = _run_to_resume(args)
        net = settings.build(init="zeros" if args.resume else None).to(args.device)
        trainer = training.Trainer(net, data.train, data.test, settings.preparation, settings.recipe)
        net.output_shape((1, settings.preparation.size, settings.preparation.size, 3))
        if args.resume:
            folder = args.resume
            trainer.load(folder / runs.CHECKPOINT)
        else:
            folder = runs.create_folder(args.out, data.name)

    _introduce(say, settings, data, trainer, args.device)
    try:
        with sentences():
            settings.write(folder)
            finished = _train(say, trainer, folder)
            if finished:
                _keep(say, trainer, data.name, folder)
            else:
                trainer.save(folder / runs.CHECKPOINT)
                runs.write_history(folder, trainer.history)
    finally:
        runs.discard_folder(folder)

    if not finished:
        say(f"Stopped after {_position(trainer)}; the checkpoint is in {folder}/")
        say(f"To go on: alexnet-np train --resume {folder}")
        return 130
    last = trainer.history[-1]
    if args.json:
        print_json({"run": str(folder), **asdict(last)})
    time = _duration(sum(row.seconds for row in trainer.history))
    say(f"{data.name}: {_epochs(trainer.epoch)} in {time}, test accuracy {_percent(last.test_accuracy)}")
    return 0


class Say:
    """Prints for a person: to standard output, or beside it where that is a program's."""

    def __init__(self, json: bool) -> None:
        self.file = sys.stderr if json else sys.stdout

    def __call__(self, text: str) -> None:
        print(text, file=self.file, flush=True)


class StopRequest:
    """Within it, the first Ctrl-C (or SIGTERM) is only noted; the second one interrupts as usual."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.made = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def grant(self) -> None:
        """Raise _Stopped if a stop was asked for."""
        if self.made:
            raise _Stopped

    def between(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches, as long as no stop was asked for."""
        for batch in batches:
            self.grant()
            yield batch

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.made = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _recipe_defaults() -> dict[str, Any]:
    from ..training import Recipe

    return {field.name: field.default for field in fields(Recipe)}


def _new_run(args: argparse.Namespace) -> "tuple[Settings, Data]":
    from .. import data, runs, training

    given = {name: value for name in RECIPE_ARGUMENTS if (value := getattr(args, name)) is not None}
    recipe = replace(training.Recipe(), **given)
    source = data.sources.DIGITS if args.data is None else str(Path(args.data).resolve())
    loaded = data.load(source)
    model = args.model or "alexnet"
    size = args.size or runs.input_size(model)
    settings = runs.Settings(
        model=model,
        variant=args.variant or "paper",
        classes=loaded.train.classes,
        data=source,
        preparation=loaded.preparation(size),
        recipe=recipe,
    )
    return settings, loaded


def _run_to_resume(args: argparse.Namespace) -> "tuple[Settings, Data]":
    from .. import data, runs

    names = ["data", "model", "variant", "size", *RECIPE_ARGUMENTS, "out"]
    if given := [name for name in names if getattr(args, name) is not None]:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"--resume continues with the run's own settings: leave out {flags}")
    settings = runs.Settings.read(args.resume)
    if (args.resume / runs.WEIGHTS).exists():
        raise UserError(f"{args.resume} is finished: there is nothing to resume")
    loaded = data.load(settings.data)
    if loaded.train.classes != settings.classes:
        raise UserError(f"{settings.data} has other classes than when {args.resume} began")
    return settings, loaded


def _introduce(say: Say, settings: "Settings", data: "Data", trainer: "Trainer", device: str) -> None:
    net, recipe, size = trainer.net, settings.recipe, settings.preparation.size
    parameters = sum(p.data.size for p in net.parameters())
    say(f"{type(net).__name__} for {net.num_classes} classes, {parameters:,} parameters, on {device}")
    say(f"{data.name}: {len(data.train):,} pictures to train, {len(data.test):,} to test, of {size}x{size} pixels")
    say(f"{_epochs(recipe.epochs)} of {len(trainer.train):,} steps with {recipe.batch_size} pictures each")
    say(f"SGD: learning rate {recipe.lr:g}, momentum {recipe.momentum:g}, weight decay {recipe.weight_decay:g}")
    if trainer.epoch or trainer.batch:
        say(f"resumed after {_position(trainer)}")


class _Stopped(Exception):  # noqa: N818
    """Training was asked to stop."""


def _train(say: Say, trainer: "Trainer", folder: Path) -> bool:
    """Train to the end; False if it was asked to stop before."""
    from tqdm import tqdm

    from .. import runs, training

    steps, epochs = len(trainer.train), trainer.recipe.epochs
    done = trainer.epoch * steps + trainer.batch
    saved = monotonic()
    with (
        StopRequest() as stop,
        suppress(_Stopped),
        # disable=None: no bar where standard error is no terminal.
        tqdm(total=epochs * steps, initial=done, unit="step", leave=False, disable=None, dynamic_ncols=True) as bar,
    ):
        while not trainer.finished:
            bar.set_description(f"epoch {trainer.epoch + 1}/{epochs}", refresh=False)
            for progress in trainer.steps():
                if trainer.epoch == 0 and trainer.batch == 1:
                    bar.write(_first_loss(progress.loss, trainer.net.num_classes), say.file)
                bar.set_postfix_str(_bar_text(progress), refresh=False)
                bar.update()
                stop.grant()
            line = trainer.end_epoch(training.evaluate(trainer.net, stop.between(trainer.test.batches())))
            bar.write(_epoch_text(line, epochs), say.file)
            say.file.flush()
            runs.write_history(folder, trainer.history)
            if monotonic() - saved > CHECKPOINT_SECONDS and not trainer.finished:
                trainer.save(folder / runs.CHECKPOINT)
                saved = monotonic()
    return trainer.finished


def _keep(say: Say, trainer: "Trainer", data_name: str, folder: Path) -> None:
    """Write what a finished run leaves."""
    from .. import figures, runs, weights

    weights.save(trainer.net, folder / runs.WEIGHTS)
    (folder / runs.CHECKPOINT).unlink(missing_ok=True)
    if find_spec("matplotlib") is None:
        say("There is no figure: it is drawn with matplotlib, which is not installed (pip install 'alexnet-np[demo]')")
    else:
        net, history = trainer.net, trainer.history
        title = f"{type(net).__name__} on {data_name}: test accuracy {_percent(history[-1].test_accuracy)}"
        figures.training_figure(folder / runs.FIGURE, title, history, net, *figures.sample(net, trainer.test))
    say(f"In {folder}/: {', '.join(sorted(path.name for path in folder.iterdir()))}")


def _first_loss(loss: float, num_classes: int) -> str:
    from ..training import unlikely_first_loss

    if warning := unlikely_first_loss(loss, num_classes):
        return f"Warning: {warning}"
    return f"first loss {loss:.3f}; a network that knows nothing has ln {num_classes} = {log(num_classes):.3f}"


def _bar_text(progress: "Progress") -> str:
    return (
        f"loss {progress.loss:.3f}, accuracy {_percent(progress.accuracy)}, {progress.images_per_second:.0f} images/s, "
        f"{100 * progress.waiting:.0f} % waiting for data"
    )


def _epoch_text(line: "Epoch", epochs: int) -> str:
    return (
        f"epoch {line.epoch:>{len(str(epochs))}}/{epochs}"
        f"   train: loss {line.train_loss:.3f}, accuracy {_percent(line.train_accuracy):>7}"
        f"   test: loss {line.test_loss:.3f}, accuracy {_percent(line.test_accuracy):>7}"
        f"   {line.images_per_second:.0f} images/s"
    )


def _position(trainer: "Trainer") -> str:
    return f"{_epochs(trainer.epoch)} and {trainer.batch} of {len(trainer.train)} steps"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

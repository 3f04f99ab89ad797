"""Train AlexNet, by default on 1,797 real handwritten digits: no download, a few minutes on two cores.

The result is a folder, runs/NAME: weights.safetensors, history.csv, figure.png and more. Ctrl-C stops after
the step in hand and leaves a checkpoint that --resume continues from, with the same result as without the
stop; after a crash it continues from the last checkpoint. docs/training.md says more.
"""

import argparse
import sys
from contextlib import closing, suppress
from dataclasses import asdict, fields
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..recipe import FREEZABLE, OPTIMIZERS, SCHEDULES, Recipe
from . import config
from .augmentation import add_augmentation, augmented
from .common import (
    UserError,
    add_device,
    add_json,
    add_model,
    amount,
    count,
    fetched,
    natural,
    print_json,
    sentences,
    share,
)
from .stop import Stopped, StopRequest

if TYPE_CHECKING:
    from ..data import Data
    from ..models import Network
    from ..runs import Settings
    from ..training import Epoch, Progress, Trainer
    from .keeping import Keeper

RECIPE: dict[str, tuple[dict[str, Any], str]] = {
    "epochs": ({"type": count, "metavar": "N"}, "passes over the training pictures"),
    "batch_size": ({"type": count, "metavar": "N"}, "pictures in a step"),
    "accumulate": (
        {"type": count, "metavar": "PARTS"},
        "in which a step's pictures go through the network, one after another: less memory, the same step",
    ),
    "optimizer": ({"choices": OPTIMIZERS}, "2012: biases at twice the rate, without decay; rule of the 2012 code"),
    "lr": ({"type": amount, "metavar": "RATE"}, "highest learning rate"),
    "momentum": ({"type": amount, "metavar": "M"}, "of SGD"),
    "weight_decay": ({"type": amount, "metavar": "D"}, "of SGD"),
    "bias_decay": ({"action": argparse.BooleanOptionalAction}, "whether biases decay, too"),
    "schedule": (
        {"choices": SCHEDULES},
        "of the learning rate: cosine, to 0; step, times gamma every --step-epochs; plateau, times gamma when the test "
        "error does not fall, as by hand in 2012; constant; 2012, times gamma at the epochs of the 2012 code",
    ),
    "warmup": ({"type": natural, "metavar": "EPOCHS"}, "in which the learning rate rises"),
    "step_epochs": ({"type": count, "metavar": "N"}, "of schedule step"),
    "gamma": ({"type": share, "metavar": "FACTOR"}, "of schedules step, plateau and 2012"),
    "patience": ({"type": natural, "metavar": "EPOCHS"}, "of schedule plateau, without a smaller test error"),
    "label_smoothing": ({"type": share, "metavar": "E"}, "share of the wanted answer that is spread over all classes"),
    "ema": (
        {"type": share, "metavar": "DECAY"},
        "of an average of the weights, such as 0.999, tested and saved for them",
    ),
    "early_stopping": ({"type": natural, "metavar": "EPOCHS"}, "without a better test ends the run; 0: never"),
    "freeze": ({"choices": FREEZABLE}, "layers that do not learn: the convolutions, in fine-tuning"),
    "seed": ({"type": natural, "metavar": "N"}, "of weights, order, crops and dropout"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of settings: epochs = 30; flags win")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="continue a run that was stopped, with its settings")
    data = parser.add_argument_group("data and network")
    data.add_argument(
        "--data",
        metavar="FOLDER",
        default="digits",
        help="a folder of class folders with pictures (split into train/ and val/, or a fifth is held out), of tar "
        "shards, of CIFAR's binary files or of IDX files as of MNIST (default: scikit-learn's digits); docs/data.md",
    )
    data.add_argument(
        "--download",
        action="store_true",
        help="--data is cifar10, cifar100 or fashion-mnist: fetch it into data/ first",
    )
    add_model(data)
    data.add_argument(
        "--weights",
        metavar="RUN_OR_FILE",
        help="to begin with, for fine-tuning: a run's folder, or a file as of torchvision or Keras (docs/weights.md); "
        "a last layer for another number of classes begins anew",
    )
    data.add_argument(
        "--size", type=count, metavar="PIXELS", help="of a side (default: 64 for digits, IDX and CIFAR, 224 for others)"
    )
    add_augmentation(parser)
    recipe = parser.add_argument_group("recipe")
    for field in fields(Recipe):
        options, text = RECIPE[field.name]
        flag = f"--{field.name.replace('_', '-')}"
        recipe.add_argument(flag, **options, default=field.default, help=f"{text} (default: %(default)s)")
    run = parser.add_argument_group("run")
    run.add_argument(
        "--out", type=Path, metavar="FOLDER", help="for the result (default: runs/NAME, by the data's name)"
    )
    run.add_argument(
        "--checkpoint-minutes",
        type=amount,
        default=10.0,
        metavar="M",
        help="at most between two checkpoints; 0: one after each step (default: %(default)g)",
    )
    run.add_argument(
        "--figure-minutes",
        type=amount,
        default=5.0,
        metavar="M",
        help="at least between two drawings of the figures, after an epoch (default: %(default)g)",
    )
    run.add_argument(
        "--workers", type=count, metavar="N", help="threads that prepare pictures (default: a core each, up to 8)"
    )
    run.add_argument("--tensorboard", action="store_true", help="write event files into the run's folder, too")
    add_device(run)
    add_json(run)


def run(args: argparse.Namespace) -> int:
    from .. import backend, checkpoints, runs, training
    from ..data import WORKERS
    from .keeping import Keeper

    say = Say(args.json)
    with sentences():
        recipe = Recipe(**{name: getattr(args, name) for name in RECIPE})
        backend.get(args.device)  # before the slow part
        settings, data = _new_run(args) if args.resume is None else _run_to_resume(args)
        checkpoint = None
        if args.resume and (args.resume / runs.CHECKPOINTS).is_dir():
            checkpoint, damages = checkpoints.newest_whole(args.resume / runs.CHECKPOINTS)
            for damage in damages:
                say(f"Warning: {damage}; the one before it is taken")
        net = settings.build(recipe.seed, init="zeros" if checkpoint else None).to(args.device)
        if args.weights and not checkpoint:
            _begin_with(say, net, Path(args.weights))
        net.output_shape((1, settings.preparation.size, settings.preparation.size, 3))
        trainer = training.Trainer(net, data.train, data.test, settings.preparation, recipe, args.workers or WORKERS)
        if checkpoint:
            trainer.resume(checkpoint)
        folder = args.resume or runs.create_folder(args.out, data.name)

    _introduce(say, settings, data, trainer, args.device)
    try:
        with sentences():
            if not args.resume:
                config.write(folder / runs.CONFIG, args.parser, vars(args))
                settings.write(folder)
            with closing(
                Keeper(say, trainer, data.name, folder, args.checkpoint_minutes, args.figure_minutes, args.tensorboard)
            ) as keeper:
                finished = _train(say, trainer, keeper, fine_tuning=args.weights is not None)
                keeper.finish() if finished else keeper.stopped()
    finally:
        if not args.resume:
            runs.discard_folder(folder)

    if not finished:
        say(f"Stopped after {_position(trainer)}; the checkpoint is in {folder}/")
        say(f"To go on: alexnet-np train --resume {folder}")
        return 130
    say(f"In {folder}/: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    outcome = trainer.outcome
    if args.json:
        print_json({"run": str(folder), **asdict(outcome)})
    if trainer.stopped_early:
        say(f"Stopped early: epoch {outcome.epoch} was the best, and its weights are the result")
    time = _duration(sum(row.seconds for row in trainer.history))
    say(f"{data.name}: {_epochs(trainer.epoch)} in {time}, test accuracy {_percent(outcome.test_accuracy)}")
    return 0


class Say:
    """Prints for a person: to standard output, or beside it where that is a program's."""

    def __init__(self, json: bool) -> None:
        self.file = sys.stderr if json else sys.stdout

    def __call__(self, text: str) -> None:
        from tqdm import tqdm

        tqdm.write(text, file=self.file)  # above the bar, where there is one
        self.file.flush()


def config_file(args: argparse.Namespace) -> Path | None:
    """The file whose settings are the defaults of the flags: the one that is named, or that of a run to resume."""
    from .. import runs

    if args.command != "train":
        return None
    if args.resume is None:
        return args.config
    if args.config is not None:
        raise UserError("--resume continues with the run's own settings: leave out --config")
    if not (args.resume / runs.CONFIG).is_file():
        raise UserError(f"{args.resume} is no folder of a training run: there is no {runs.CONFIG} in it")
    return args.resume / runs.CONFIG


def _new_run(args: argparse.Namespace) -> "tuple[Settings, Data]":
    """Also says in ``args`` what was left open: see config.write."""
    from .. import data, runs

    if args.download:
        args.data, args.download = fetched(args.data), False
    args.data = data.sources.DIGITS if args.data == data.sources.DIGITS else str(Path(args.data).resolve())
    args.weights = args.weights and str(Path(args.weights).resolve())
    args.mean_image = args.mean_image and str(Path(args.mean_image).resolve())
    loaded = data.load(args.data)
    preparation = augmented(args, loaded, args.size or runs.input_size(args.model))
    args.size = preparation.size
    return runs.Settings(args.model, args.variant, loaded.train.classes, args.data, preparation), loaded


def _begin_with(say: Say, net: "Network", path: Path) -> None:
    """The first weights of a run that fine-tunes."""
    from .. import runs, weights

    new = weights.load(net, path / runs.WEIGHTS if path.is_dir() else path, strict=False)
    say(f"weights of {path}" + (f"; new are {', '.join(new)}" if new else ""))


def _run_to_resume(args: argparse.Namespace) -> "tuple[Settings, Data]":
    from .. import data, runs

    settings = runs.Settings.read(args.resume)
    own = config.read(args.resume / runs.CONFIG, args.parser)
    may_change = config.in_group(args.parser, "run")
    others = [name for name, value in own.items() if getattr(args, name) != value and name not in may_change]
    if others := others + ["out"] * (args.out is not None):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        raise UserError(f"--resume continues with the run's own settings: leave out {flags}")
    if (args.resume / runs.WEIGHTS).exists():
        raise UserError(f"{args.resume} is finished: there is nothing to resume")
    loaded = data.load(settings.data)
    if loaded.train.classes != settings.classes:
        raise UserError(f"{settings.data} has other classes than when {args.resume} began")
    return settings, loaded


def _introduce(say: Say, settings: "Settings", data: "Data", trainer: "Trainer", device: str) -> None:
    net, recipe, size = trainer.net, trainer.recipe, settings.preparation.size
    parameters = sum(p.data.size for p in net.parameters())
    say(f"{type(net).__name__} for {net.num_classes} classes, {parameters:,} parameters, on {device}")
    say(f"{data.name}: {len(data.train):,} pictures to train, {len(data.test):,} to test, of {size}x{size} pixels")
    say(f"{_epochs(recipe.epochs)} of {len(trainer.train):,} steps with {recipe.batch_size} pictures each")
    say(
        f"SGD: learning rate {recipe.lr:g} ({recipe.schedule}), momentum {recipe.momentum:g}, "
        f"weight decay {recipe.weight_decay:g}"
    )
    if trainer.steps_done:
        say(f"resumed after {_position(trainer)}")


def _train(say: Say, trainer: "Trainer", keeper: "Keeper", fine_tuning: bool) -> bool:
    """Train to the end; False if it was asked to stop before."""
    from tqdm import tqdm

    epochs = trainer.recipe.epochs
    total = epochs * len(trainer.train)
    with (
        StopRequest() as stop,
        suppress(Stopped),
        # disable=None: no bar where standard error is no terminal.
        tqdm(
            total=total, initial=trainer.steps_done, unit="step", leave=False, disable=None, dynamic_ncols=True
        ) as bar,
    ):
        while not trainer.finished:
            bar.set_description(f"epoch {trainer.epoch + 1}/{epochs}", refresh=False)
            for progress in trainer.steps():
                if trainer.steps_done == 1 and not fine_tuning:  # whose network knows something
                    say(_first_loss(progress.loss, trainer.net.num_classes))
                bar.set_postfix_str(_bar_text(progress), refresh=False)
                bar.update()
                stop.grant()
                keeper.step(progress)
            result = trainer.evaluate(stop.between(trainer.test.batches()))
            line = trainer.end_epoch(result)
            say(_epoch_text(line, epochs))
            keeper.epoch(line, result)
    return trainer.finished


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

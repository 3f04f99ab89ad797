"""Train AlexNet, by default on 1,797 real handwritten digits: no download, a few minutes on two cores.

The result is a folder, runs/NAME: weights.safetensors, history.csv, figure.png and more. Ctrl-C, SIGTERM
or a closed terminal stops after the step in hand and leaves a checkpoint that --resume continues from, with the same
result as without the stop; after a crash it continues from the last checkpoint. docs/training.md says more.

The test images are looked at after every epoch: those in val/ or test/, or a fifth that is held out. Where they choose
something (the best epoch, --early-stopping, --schedule plateau, or you among several runs), they are what is usually
called a validation set, and their accuracy is a little too good: for a figure to report, evaluate the result on images
that no run has been chosen by. Of data with train/, val/ and test/ the last is kept aside for that.
"""

import argparse
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..backend import PRECISIONS
from . import beginning, telling
from .augmentation import add_augmentation
from .beginning import Begun
from .common import (
    UserError,
    add_device,
    add_download,
    add_json,
    add_model,
    amount,
    count,
    listed,
    print_json,
    sentences,
)
from .recipe_flags import add_recipe, chosen_recipe
from .stop import Stopped, StopRequest

if TYPE_CHECKING:
    from ..data import Data
    from ..recipe import Recipe
    from ..runs import Settings
    from ..training import Trainer
    from .keeping import Keeper


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of settings: epochs = 30; flags win")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="continue a run that was stopped, with its settings")
    data = parser.add_argument_group("data and network")
    data.add_argument(
        "--data",
        metavar="FOLDER",
        default="digits",
        help="a folder of class folders with images (split into train/ and val/, or a fifth is held out), of tar "
        "shards, of CIFAR's binary files or of IDX files as of MNIST (default: scikit-learn's digits); docs/data.md",
    )
    add_download(data)
    add_model(data, "that of --weights, else alexnet")
    data.add_argument(
        "--weights",
        metavar="RUN_OR_FILE",
        help="first weights, for fine-tuning: a run's folder, or a file of torchvision's or Keras's, e.g. net.pth "
        "(docs/weights.md); for other classes the last layer starts fresh (default: random weights)",
    )
    data.add_argument(
        "--size",
        type=count,
        metavar="PIXELS",
        help="side of the images that the network sees, in pixels (default: 64 for digits, IDX and CIFAR, 224 for "
        "others)",
    )
    add_augmentation(parser)
    add_recipe(parser)
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
    run.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of products, with --device gpu: docs/gpu.md (default: %(default)s)",
    )
    add_json(run)


def run(args: argparse.Namespace) -> int:
    from .. import runs

    stop = StopRequest()
    say = telling.Say(args.json, unread=stop.make)
    with ExitStack() as held:  # the lock on the folder
        with sentences():
            recipe = _check(args)
            if args.resume is None:
                begun = beginning.begin(args, recipe, say, held)
            else:
                lock = beginning.locked(args.resume, held, say)
                if (lock.folder / runs.WEIGHTS).exists():
                    return beginning.clean_up(args, say, lock.folder)
                begun = beginning.resume(args, recipe, say, lock)
        return _run(args, say, stop, begun)


def _check(args: argparse.Namespace) -> "Recipe":
    """What can be seen from the settings, before the slow part."""
    from .. import backend

    recipe = chosen_recipe(args)
    if args.tensorboard and find_spec("tensorboardX") is None:
        raise UserError("--tensorboard: tensorboardX is not installed (pip install 'alexnet-np[tensorboard]')")
    backend.get(args.device, precision=args.precision)
    if args.resume is not None:
        beginning.check_resumed(args)
    return recipe


def _run(args: argparse.Namespace, say: telling.Say, stop: StopRequest, begun: Begun) -> int:
    """Train to the end, or to a stop, and say what came of it."""
    from ..data import DataError
    from ..data.remarks import counted
    from ..run_lock import FolderGoneError
    from ..step import NotFiniteError
    from .keeping import Keeper

    trainer, folder, outcome = begun.trainer, begun.lock.folder, None
    try:
        with sentences(DataError, FolderGoneError, NotFiniteError, MemoryError, OSError), stop:
            _introduce(say, begun.settings, begun.data, trainer, args.device)
            say(telling.checkpoints(args.checkpoint_minutes))
            keeper = Keeper(
                say,
                trainer,
                begun.description,
                begun.data.name,
                begun.lock,
                args.checkpoint_minutes,
                args.figure_minutes,
                args.tensorboard,
            )
            with closing(keeper):
                if _train(say, trainer, keeper, stop, fine_tuning=args.weights is not None):
                    outcome = keeper.finish()
                else:
                    keeper.stopped()
    except Exception as error:
        if not begun.lock.gone:
            _advise(say, folder, diverged=isinstance(error.__cause__, NotFiniteError))
        raise

    if outcome is None:
        say(f"Stopped after {telling.position(trainer)}; the checkpoint is in {folder}/")
        say(f"To go on: alexnet-np train --resume {folder}")
        return 130
    if remarks := counted([*trainer.train.remarks.values(), *trainer.test.remarks.values()]):
        say(f"Remarks of Pillow and libtiff, on images each: {listed(remarks)}")
    names = sorted(path.name for path in folder.iterdir() if path != begun.lock.path)
    say(f"In {folder}/: {', '.join(names)}")
    if args.json:
        print_json({"run": str(folder), **asdict(outcome)})
    if trainer.stopped_early and trainer.best:
        lost = "" if outcome is trainer.best else f"; those of epoch {trainer.best.epoch}, the best, could not be kept"
        say(f"Stopped early: the weights of epoch {outcome.epoch} are the result{lost}")
    time, accuracy = sum(row.seconds for row in trainer.history), outcome.test_accuracy
    trained = f"{telling.epochs(trainer.epoch)} in {telling.duration(time)}"
    say(f"{begun.data.name}: {trained}, test accuracy {telling.percent(accuracy)}")
    return 0


def _advise(say: telling.Say, folder: Path, diverged: bool) -> None:
    """After an error: what is kept, and how to go on from it."""
    from .. import checkpoints, runs

    if (folder / runs.WEIGHTS).exists():
        say(f"The weights are kept. To test them when this is mended: alexnet-np evaluate --weights {folder}")
    elif checkpoints.in_ring(folder / runs.CHECKPOINTS) and diverged:
        say(
            "A checkpoint from before is kept. To resume it leads to the same; to begin a new run with its weights: "
            f"alexnet-np train --weights {folder} --lr RATE, with a lower rate"
        )
    elif checkpoints.in_ring(folder / runs.CHECKPOINTS):
        say(f"A checkpoint is kept. To go on when this is mended: alexnet-np train --resume {folder}")


def _introduce(say: telling.Say, settings: "Settings", data: "Data", trainer: "Trainer", device: str) -> None:
    from ..data.classes import in_a_line

    net, recipe, size = trainer.net, trainer.recipe, settings.preparation.size
    parameters = sum(p.data.size for p in net.parameters())
    learning = sum(p.data.size for p in net.parameters() if p.requires_grad)
    learn = f" ({learning:,} learn)" if learning < parameters else ""
    say(f"{type(net).__name__} for {net.num_classes} classes, {parameters:,} parameters{learn}, on {device}")
    say(f"{data.name}: {len(data.train):,} images to train, {len(data.test):,} to test, of {size}x{size} pixels")
    say(f"tested on {data.judged_by}")
    say(f"{len(data.train.classes):,} classes: {in_a_line(data.train.classes)}")
    for line in telling.about(data):
        say(line)
    say(f"{telling.epochs(recipe.epochs)} of {len(trainer.train):,} steps with {recipe.batch_size} pictures each")
    say(
        f"SGD: learning rate {recipe.lr:g} ({recipe.schedule}), momentum {recipe.momentum:g}, "
        f"weight decay {recipe.weight_decay:g}"
    )
    if trainer.steps_done:
        say(f"resumed after {telling.position(trainer)}")


def _train(say: telling.Say, trainer: "Trainer", keeper: "Keeper", stop: StopRequest, fine_tuning: bool) -> bool:
    """Train to the end; False if it was asked to stop before."""
    from tqdm import tqdm

    epochs = trainer.recipe.epochs
    total = epochs * len(trainer.train)
    with (
        keeper.failing(),
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
                    say(telling.first_loss(progress.loss, trainer.net.num_classes))
                bar.set_postfix_str(telling.bar_text(progress), refresh=False)
                bar.update()
                keeper.step(progress)
                stop.grant()
            result = trainer.evaluate(stop.between(trainer.test.batches()))
            line = trainer.end_epoch(result)
            say(telling.epoch_text(line, epochs))
            keeper.epoch(line, result)
    return trainer.finished

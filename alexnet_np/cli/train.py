"""Train AlexNet, by default on 1,797 real handwritten digits: no download, a few minutes on two cores.

The result is a folder, runs/NAME: weights.safetensors, history.csv, figure.png and more. Ctrl-C, or
SIGTERM, stops after the step in hand and leaves a checkpoint that --resume continues from, with the same result
as without the stop; after a crash it continues from the last checkpoint. docs/training.md says more.

The test images are looked at after every epoch: those in val/ or test/, or a fifth that is held out. Where they choose
something (the best epoch, --early-stopping, --schedule plateau, or you among several runs), they are what is usually
called a validation set, and their accuracy is a little too good: for a figure to report, evaluate the result on images
that no run has been chosen by. Of data with train/, val/ and test/ the last is kept aside for that.
"""

import argparse
from contextlib import closing, suppress
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backend import PRECISIONS
from . import config, telling
from .augmentation import add_augmentation, augmented
from .common import (
    UserError,
    add_device,
    add_download,
    add_json,
    add_model,
    amount,
    count,
    fetch,
    listed,
    print_json,
    sentences,
)
from .recipe_flags import add_recipe, chosen_recipe
from .stop import Stopped, StopRequest

if TYPE_CHECKING:
    from ..data import Data
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
    from .. import backend, checkpoints, fine_tuning, runs, training
    from ..data import WORKERS, DataError
    from ..data.remarks import counted
    from ..step import NotFiniteError
    from .keeping import Keeper

    say = telling.Say(args.json)
    with sentences():
        recipe = chosen_recipe(args)
        if args.tensorboard and find_spec("tensorboardX") is None:
            raise UserError("--tensorboard: tensorboardX is not installed (pip install 'alexnet-np[tensorboard]')")
        backend.get(args.device, precision=args.precision)  # before the slow part
        settings, data = _new_run(args) if args.resume is None else _run_to_resume(args)
        checkpoint = None
        if args.resume and checkpoints.in_ring(args.resume / runs.CHECKPOINTS):
            checkpoint, damages = checkpoints.newest_whole(args.resume / runs.CHECKPOINTS)
            for damage in damages:
                say(f"Warning: {damage}; the one before it is taken")
        net = settings.build(recipe.seed, init="zeros" if checkpoint else None)
        net.to(args.device, precision=args.precision)
        description = settings.describe()
        if args.weights and not checkpoint:
            became = fine_tuning.begin_with(net, args.weights, settings.classes, description.preparation)
            say(f"weights of {args.weights}; {became}")
        net.output_shape((1, settings.preparation.size, settings.preparation.size, 3))
        trainer = training.Trainer(net, data.train, data.test, settings.preparation, recipe, args.workers or WORKERS)
        if checkpoint:
            trainer.resume(checkpoint)
            checkpoints.remove_after(args.resume / runs.CHECKPOINTS, trainer.steps_done)
        folder = args.resume or runs.create_folder(args.out, data.name)

    try:
        with sentences(DataError, NotFiniteError, MemoryError, OSError), StopRequest() as stop:
            if not args.resume:  # before anything else: from here on the run can be resumed
                settings.write(folder, args.device)
                config.write(folder / runs.CONFIG, args.parser, vars(args))
            _introduce(say, settings, data, trainer, args.device)
            with closing(
                Keeper(
                    say,
                    trainer,
                    description,
                    data.name,
                    folder,
                    args.checkpoint_minutes,
                    args.figure_minutes,
                    args.tensorboard,
                )
            ) as keeper:
                finished = _train(say, trainer, keeper, stop, fine_tuning=args.weights is not None)
                if finished:
                    outcome = keeper.finish()
                else:
                    keeper.stopped()
    except Exception:
        if (folder / runs.WEIGHTS).exists():
            say(f"The weights are kept. To test them when this is mended: alexnet-np evaluate --weights {folder}")
        elif checkpoints.in_ring(folder / runs.CHECKPOINTS):
            say(f"A checkpoint is kept. To go on when this is mended: alexnet-np train --resume {folder}")
        raise
    finally:
        if not args.resume:
            runs.discard_folder(folder)

    if not finished:
        say(f"Stopped after {telling.position(trainer)}; the checkpoint is in {folder}/")
        say(f"To go on: alexnet-np train --resume {folder}")
        return 130
    if remarks := counted([*trainer.train.remarks.values(), *trainer.test.remarks.values()]):
        say(f"Remarks of Pillow and libtiff, on images each: {listed(remarks)}")
    say(f"In {folder}/: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    if args.json:
        print_json({"run": str(folder), **asdict(outcome)})
    if trainer.stopped_early and trainer.best:
        lost = "" if outcome is trainer.best else f"; those of epoch {trainer.best.epoch}, the best, could not be kept"
        say(f"Stopped early: the weights of epoch {outcome.epoch} are the result{lost}")
    time, accuracy = sum(row.seconds for row in trainer.history), outcome.test_accuracy
    trained = f"{telling.epochs(trainer.epoch)} in {telling.duration(time)}"
    say(f"{data.name}: {trained}, test accuracy {telling.percent(accuracy)}")
    return 0


def file_settings(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The settings in a file, where ``args`` are the flags. Errors: see config.read.

    The first versions wrote variant = "paper" for every model: it is left out for models without variants.
    """
    from .. import runs

    settings = config.read(path, args.parser)
    weights = args.weights or settings.get("weights")  # which may say the model
    model = args.model or settings.get("model") or (None if weights else "alexnet")
    if model not in (None, runs.WITH_VARIANTS) and settings.get("variant") == "paper":
        del settings["variant"]
    return settings


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

    _choose_model(args)
    fetch(args)
    args.data = data.sources.DIGITS if args.data == data.sources.DIGITS else str(Path(args.data).resolve())
    args.weights = args.weights and str(Path(args.weights).resolve())
    args.mean_image = args.mean_image and str(Path(args.mean_image).resolve())
    loaded = data.load(args.data)
    preparation = augmented(args, loaded, args.size or runs.input_size(args.model))
    args.size = preparation.size
    return runs.Settings(args.model, args.variant, loaded.train.classes, args.data, preparation), loaded


def _choose_model(args: argparse.Namespace) -> None:
    """Say in ``args`` which network it is, that of --weights where they say so."""
    from .. import runs

    choose = partial(runs.model_of, args.weights) if args.weights else runs.chosen_model
    args.model, args.variant = choose(args.model, args.variant)


def _run_to_resume(args: argparse.Namespace) -> "tuple[Settings, Data]":
    from .. import data, runs

    settings = runs.Settings.read(args.resume)
    own = file_settings(args.resume / runs.CONFIG, args)
    fixed = config.outside_group(args.parser, "run")
    others = [name for name in fixed if getattr(args, name) != own.get(name)]  # None is not in the file
    if others := others + ["out"] * (args.out is not None):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        raise UserError(f"--resume continues with the run's own settings: leave out {flags}")
    if (args.resume / runs.WEIGHTS).exists():
        raise UserError(f"{args.resume} is finished: there is nothing to resume")
    loaded = data.load(settings.data)
    if loaded.train.classes != settings.classes:
        raise UserError(f"{settings.data} has other classes than when {args.resume} began")
    return settings, loaded


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

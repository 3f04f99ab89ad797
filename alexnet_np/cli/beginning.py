"""A training run before its first step: a new one, or one that is taken up again. All that may be refused is seen here.

What is refused leaves nothing, and changes nothing in the folder of a run that is there.
"""

import argparse
import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import config, telling
from .augmentation import augmented
from .common import UserError, fetch, flag, print_json

if TYPE_CHECKING:
    from ..data import Data
    from ..models import Network
    from ..recipe import Recipe
    from ..run_lock import RunLock
    from ..runs import Settings
    from ..training import Trainer
    from ..weights import Description


@dataclass(frozen=True)
class Begun:
    """What a run is made of, when it is about to begin or to go on."""

    settings: "Settings"
    data: "Data"
    trainer: "Trainer"
    description: "Description"
    lock: "RunLock"


def begin(args: argparse.Namespace, recipe: "Recipe", say: telling.Say, held: ExitStack) -> Begun:
    """A new run, in a folder of its own that is made last: nothing is left of what is refused."""
    from .. import fine_tuning, runs

    settings, data = _new_run(args)
    net = settings.build(recipe.seed).to(args.device, precision=args.precision)
    description = settings.describe()
    if args.weights:
        became = fine_tuning.begin_with(net, args.weights, settings.classes, description.preparation)
        say(f"weights of {args.weights}; {became}")
    trainer = _trainer(args, net, data, settings, recipe)
    lock = locked(runs.create_folder(args.out, data.name), held, say, new=True)
    settings.write(lock.folder, args.device, trainer.digests.texts)  # from here on the run can be resumed
    config.write(lock.folder / runs.CONFIG, args.parser, vars(args))
    return Begun(settings, data, trainer, description, lock)


def resume(args: argparse.Namespace, recipe: "Recipe", say: telling.Say, lock: "RunLock") -> Begun:
    """A run from its newest whole checkpoint, or from its beginning where there is none."""
    from .. import checkpoints, fine_tuning, runs
    from ..training import other_data

    folder = lock.folder
    settings, data, moved = _run_to_resume(args)
    checkpoint = None
    if checkpoints.in_ring(folder / runs.CHECKPOINTS):
        checkpoint, damages = checkpoints.newest_whole(folder / runs.CHECKPOINTS)
        for damage in damages:
            say(f"Warning: {damage}; the one before it is taken")
    net = settings.build(recipe.seed, init="zeros" if checkpoint else None).to(args.device, precision=args.precision)
    description = settings.describe()
    if checkpoint:
        trainer = _trainer(args, net, data, settings, recipe)
        trainer.resume(checkpoint)
        checkpoints.remove_after(folder / runs.CHECKPOINTS, trainer.steps_done)
    else:
        lost = len(runs.read_history(folder))
        say(
            f"Warning: {folder} has no checkpoint: its process ended before it wrote the first one. "
            f"The training begins anew{f'; lost: {telling.epochs(lost)}' if lost else ''}"
        )
        if args.weights:
            fine_tuning.begin_with(net, args.weights, settings.classes, description.preparation)
        trainer = _trainer(args, net, data, settings, recipe)
        if (known := runs.data_digests(folder)) and (difference := trainer.digests.difference(known, {})):
            raise ValueError(f"{folder}: {other_data(difference)}")
    if moved:
        settings.write(folder, args.device, trainer.digests.texts)
        own = file_settings(folder / runs.CONFIG, args)
        config.write(folder / runs.CONFIG, args.parser, own | {"data": settings.data})
        say(f"The images are the same, in another place: from here on {folder} takes them from {settings.data}")
    if removed := runs.remove_unfinished(folder):
        say(f"Removed what was begun when the process ended: {', '.join(removed)}")
    return Begun(settings, data, trainer, description, lock)


def clean_up(args: argparse.Namespace, say: telling.Say, folder: Path) -> int:
    """What a run that has its weights still owes: it was killed before it had removed what it no longer needs."""
    from .. import runs

    runs.open_trained(folder)  # the weights are whole
    removed = runs.remove_leftovers(folder)
    if not removed:
        raise UserError(f"{folder} is finished: there is nothing to resume")
    say(f"{folder} was finished, but its process ended before it had cleaned up. Removed: {', '.join(removed)}")
    if not all((folder / name).exists() for name in (runs.CONFUSION, runs.CLASSES)):
        say(f"To write the tables of its test: alexnet-np evaluate --weights {folder} --out {folder}")
    if args.json:
        print_json({"run": str(folder), "removed": removed})
    return 0


def locked(folder: Path, held: ExitStack, say: telling.Say, new: bool = False) -> "RunLock":
    """The lock on the folder of a run; a new one that comes to nothing is removed at the end."""
    from .. import runs
    from ..run_lock import RunLock

    lock = RunLock(folder)
    if new:
        held.callback(lambda: None if lock.gone else runs.discard_folder(folder))
    held.enter_context(lock)
    if lock.problem:
        say(f"Warning: {lock.problem}")
    return lock


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


def check_resumed(args: argparse.Namespace) -> None:
    """UserError for flags that would change the run that is to be resumed."""
    from .. import runs

    own = file_settings(args.resume / runs.CONFIG, args)
    fixed = [name for name in config.outside_group(args.parser, "run") if name != "data"]
    others = [name for name in fixed if getattr(args, name) != own.get(name)]  # None is not in the file
    if others := others + ["out"] * (args.out is not None):
        raise UserError(f"--resume continues with the run's own settings: leave out {', '.join(map(flag, others))}")


def _trainer(
    args: argparse.Namespace, net: "Network", data: "Data", settings: "Settings", recipe: "Recipe"
) -> "Trainer":
    from ..data import WORKERS
    from ..training import Trainer

    preparation = settings.preparation
    net.output_shape((1, preparation.size, preparation.size, 3))  # before a slow look at the images
    return Trainer(net, data.train, data.test, preparation, recipe, args.workers or WORKERS)


def _new_run(args: argparse.Namespace) -> "tuple[Settings, Data]":
    """Also says in ``args`` what was left open: see config.write."""
    from .. import data, runs

    _choose_model(args)
    fetch(args)
    args.data = _source(args.data)
    args.weights = args.weights and os.path.realpath(args.weights)
    args.mean_image = args.mean_image and os.path.realpath(args.mean_image)
    config.check_texts({name: getattr(args, name) for name in ("data", "weights", "mean_image", "out")})
    loaded = data.load(args.data)
    preparation = augmented(args, loaded, args.size or runs.input_size(args.model))
    args.size = preparation.size
    return runs.Settings(
        args.model, args.variant, loaded.train.classes, args.data, preparation.with_mean_image()
    ), loaded


def _choose_model(args: argparse.Namespace) -> None:
    """Say in ``args`` which network it is, that of --weights where they say so."""
    from .. import runs

    choose = partial(runs.model_of, args.weights) if args.weights else runs.chosen_model
    args.model, args.variant = choose(args.model, args.variant)


def _run_to_resume(args: argparse.Namespace) -> "tuple[Settings, Data, bool]":
    """Its settings and data, and whether --data says that these have another place now."""
    from .. import data, runs

    settings = runs.Settings.read(args.resume)
    place = _source(args.data)
    moved = place != settings.data
    settings = replace(settings, data=place)
    try:
        loaded = data.load(settings.data)
    except FileNotFoundError as error:
        advice = f"where the images have moved to: alexnet-np train --resume {args.resume} --data FOLDER"
        raise UserError(f"{error}; {advice}") from error
    if loaded.train.classes != settings.classes:
        raise UserError(f"{settings.data} has other classes than when {args.resume} began")
    return settings, loaded, moved


def _source(name: str) -> str:
    """What --data names, from whatever folder a later command is run."""
    from ..data import sources

    return name if name == sources.DIGITS else os.path.realpath(name)

"""Test a network: loss, top-1 and top-5 accuracy.

Without arguments the newest run in runs/ is tested on the test images of its own data. With --data, on
the val/ or test/ folder of a data set, or, where there is none, on all class folders in FOLDER. Where FOLDER has
the images of the run itself, which may have been moved, only those are tested that were held out of the training.

The classes of the data are found among the network's by name, whatever their order. Where one side has only numbers
they are matched by position, and a note says so.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from .class_names import add_classes, known_names
from .common import (
    OF_WEIGHTS,
    add_device,
    add_download,
    add_json,
    add_model,
    add_weights,
    assumed_of,
    count,
    fetch,
    print_json,
    sentences,
    tell_of,
)

if TYPE_CHECKING:
    from ..data import Dataset
    from ..metrics import Evaluation
    from ..runs import Trained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_weights(parser)
    parser.add_argument("--data", metavar="FOLDER", help="as train has it (default: the run's own data)")
    add_download(parser)
    add_model(parser, OF_WEIGHTS)
    add_classes(parser)
    parser.add_argument(
        "--batch-size", type=count, default=64, metavar="N", help="images at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--ten-crop",
        action="store_true",
        help="as in 2012: the mean probabilities of five squares of each image and their flips",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder for the accuracy of each class and the confusion matrix, as CSV and, with matplotlib, as a "
        "figure (default: not written)",
    )
    add_device(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .. import data, metrics, runs

    with sentences():
        if args.download and args.data is None:
            raise ValueError("--download: expected --data with it: cifar10, cifar100 or fashion-mnist")
        fetch(args)
        path = args.weights or runs.latest()
        trained = runs.open_trained(path, args.model, args.variant)
        net = trained.net.to(args.device)
        source, test, held_out = _test_set(args.data, trained, Path(path))
        known, assumed = known_names(trained, args.classes)
        if assumed and known and not set(test.classes) <= set(known):
            known = assumed = None  # data with other names than those that would be assumed
        matched = data.match(source, test, known, net.num_classes)
        classes = matched.dataset.classes
        batch_size = -(-args.batch_size // 10) if args.ten_crop else args.batch_size
        loader = data.Loader(matched.dataset, trained.preparation, batch_size, ten_crop=args.ten_crop)
        batches = tqdm(loader.batches(), total=len(loader), desc="evaluate", unit="batch", leave=False, disable=None)
        result = metrics.evaluate(net, batches)
        if args.out:
            _write(args.out, f"{path} on {source}", classes, result)

    if held_out:
        trained.notes.append(held_out)
    notes = [*trained.notes, *([matched.note] if matched.note else [])]
    if args.json:
        figures = {name: getattr(result, name) for name in ("images", "loss", "top1", "top5")}
        told = {"classes_matched_by": matched.by, "assumed": assumed_of(trained, assumed), "notes": notes}
        print_json({"weights": str(path), "data": str(source), **figures, "skipped": loader.skipped, **told})
        return 0
    tell_of(path, assumed_of(trained, assumed), trained.notes)
    if matched.note:
        print(f"Note: {matched.note}", file=sys.stderr)
    for image, reason in loader.skipped.items():
        print(f"left out: {image}: {reason}", file=sys.stderr)
    print(f"{path} on {result.images:,} images of {source}")
    top5 = f"   top-5 {result.top5:.1%}" if net.num_classes > 5 else ""
    print(f"loss {result.loss:.4f}   top-1 {result.top1:.1%}{top5}".replace("%", " %"))
    return 0


def _test_set(source: str | None, trained: "Trained", path: Path) -> "tuple[str, Dataset, str | None]":
    """What is tested on, what it is called, and a note where that is other than ``load_test`` has it."""
    from .. import data, runs
    from ..data.digests import TEST, TRAINING, Digests

    if source is None:
        if trained.data is None:
            raise ValueError(f"{path} does not say what it was trained on: name the data to test it on with --data")
        try:
            return trained.data, data.load(trained.data).test, None
        except FileNotFoundError as error:
            raise ValueError(f"{error}; where it was moved, name its new place with --data") from error
    folder = path if path.is_dir() else path.parent
    known = runs.data_digests(folder) if trained.data is not None else {}
    if known:
        with suppress(data.DataError):  # a test set alone is no data to train on
            loaded = data.load(source)
            found = Digests.of(loaded.train, loaded.test, trained.preparation).texts
            if all(found[name] == known.get(name) for name in (TRAINING, TEST)):
                note = f"{source} has the images of {folder}: it is tested on those that were held out of the training"
                return source, loaded.test, note
    return source, data.load_test(source), None


def _write(folder: Path, what: str, classes: Sequence[str], result: "Evaluation") -> None:
    from .. import runs

    folder.mkdir(parents=True, exist_ok=True)
    runs.write_evaluation(folder, classes, result)
    if find_spec("matplotlib"):
        from .. import artist, figures

        title = f"{what}: accuracy {100 * result.top1:.1f} %"
        job = artist.Job(figures.confusion_figure, folder / runs.CONFUSION_FIGURE, (title, classes, result))
        artist.draw([job], lambda warning: print(warning, file=sys.stderr))

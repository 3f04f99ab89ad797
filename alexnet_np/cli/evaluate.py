"""Test a network: loss, top-1 and top-5 accuracy.

Without arguments the newest run in runs/ is tested on its own data, with --data on others: on the test part, or else
on the validation part. Where there is neither, on the images of its own data that were held out of training, or on all
class folders of others. --data also takes the run's own images in another place. The result says which part it was.

The classes of the data are found among the network's by name, whatever their order. Where one side has only numbers
they are matched by position, and a note says so.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    listed,
    print_json,
    sentences,
    tell_of,
)

if TYPE_CHECKING:
    from ..data import Data
    from ..data.sources import Tested
    from ..metrics import Evaluation
    from ..runs import Trained


NOTES = 10  # about data; check-data has all


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
    from ..data.remarks import counted
    from ..reading import printable

    with sentences():
        if args.download and args.data is None:
            raise ValueError("--download: expected --data with it: cifar10, cifar100 or fashion-mnist")
        fetch(args)
        path = args.weights or runs.latest()
        trained = runs.open_trained(path, args.model, args.variant)
        net = trained.net.to(args.device)
        source, tested = _tested(args.data, trained, Path(path))
        test = tested.dataset
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

    of_data = [*tested.notes[:NOTES], *([matched.note] if matched.note else [])]
    if len(tested.notes) > NOTES:
        of_data.append(f"and {len(tested.notes) - NOTES:,} more about the data: alexnet-np check-data lists them")
    if remarks := counted(loader.remarks.values()):
        of_data.append(f"Remarks of Pillow and libtiff, on images each: {listed(remarks)}")
    notes = [*trained.notes, *of_data]
    if args.json:
        figures = {name: getattr(result, name) for name in ("images", "loss", "top1", "top5")}
        told = {"classes_matched_by": matched.by, "assumed": assumed_of(trained, assumed), "notes": notes}
        print_json(
            {
                "weights": str(path),
                "data": str(source),
                "part": tested.part,
                **figures,
                "skipped": loader.skipped,
                **told,
            }
        )
        return 0
    tell_of(path, assumed_of(trained, assumed), trained.notes)
    for note in of_data:
        print(f"Note: {printable(note)}", file=sys.stderr)
    for image, reason in loader.skipped.items():
        print(f"left out: {image}: {reason}", file=sys.stderr)
    print(f"{path} on {result.images:,} images of {source}: {tested.part}")
    top5 = f"   top-5 {result.top5:.1%}" if net.num_classes > 5 else ""
    print(f"loss {result.loss:.4f}   top-1 {result.top1:.1%}{top5}".replace("%", " %"))
    return 0


def _tested(source: str | None, trained: "Trained", path: Path) -> "tuple[str, Tested]":
    """What is tested on, and its test images: of the run's own data, those that were not trained on."""
    from .. import runs
    from ..data import DataError, sources

    own = source is None
    source = source or trained.data
    if source is None:
        raise ValueError(f"{path} does not say what it was trained on: name the data to test it on with --data")
    try:
        tested = sources.open_test(source)
    except FileNotFoundError as error:
        if not own:
            raise
        raise ValueError(f"{error}; where it was moved, name its new place with --data") from error
    if tested.part != sources.ALL:  # it has a part to test on
        return source, tested
    run = path if path.is_dir() else path.parent
    known = runs.data_digests(run) if trained.data is not None else {}
    if not own and not known:
        return source, tested
    try:
        loaded = sources.load(source)
    except DataError:
        if own:
            raise
        return source, tested  # a test set alone is no data to train on
    same = bool(known) and _has_images(loaded, known, trained)
    if not own and not same:
        return source, tested
    notes = []
    if not own:
        notes = [f"{source} has the images of {run}: only those that were not trained on are tested"]
    elif known and not same:
        notes = [f"{source} has changed since the training: some images of this test may have been trained on"]
    held_out = sources.Tested.judging(loaded)
    return source, replace(held_out, notes=[*notes, *held_out.notes])


def _has_images(loaded: "Data", known: Mapping[str, str], trained: "Trained") -> bool:
    """Whether data have the images that the digests of a run (data.digests) are of."""
    from ..data.digests import TEST, TRAINING, Digests

    found = Digests.of(loaded.train, loaded.test, trained.preparation).texts
    return all(found[name] == known.get(name) for name in (TRAINING, TEST))


def _write(folder: Path, what: str, classes: Sequence[str], result: "Evaluation") -> None:
    from .. import runs
    from ..files import make_folder

    make_folder(folder)
    runs.write_evaluation(folder, classes, result)
    if find_spec("matplotlib"):
        from .. import artist, figures

        title = f"{what}: accuracy {100 * result.top1:.1f} %"
        job = artist.Job(figures.confusion_figure, folder / runs.CONFUSION_FIGURE, (title, classes, result))
        artist.draw([job], lambda warning: print(warning, file=sys.stderr))

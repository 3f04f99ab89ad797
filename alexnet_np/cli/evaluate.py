"""Test a network: loss, top-1 and top-5 accuracy.

Without arguments the newest run in runs/ is tested on the test pictures of its own data. With --data, on
the val/ or test/ folder of a data set, or, where there is none, on all class folders in FOLDER.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from .common import add_device, add_download, add_json, add_model, add_weights, count, fetch, print_json, sentences

if TYPE_CHECKING:
    from ..metrics import Evaluation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_weights(parser)
    parser.add_argument("--data", metavar="FOLDER", help="as train has it (default: the run's own data)")
    add_download(parser)
    add_model(parser)
    parser.add_argument(
        "--batch-size", type=count, default=64, metavar="N", help="pictures at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--ten-crop",
        action="store_true",
        help="as in 2012: the mean probabilities of five squares of each picture and their mirror images",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="for the accuracy of each class and the confusion matrix, as CSV and, with matplotlib, as a figure",
    )
    add_device(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .. import data, metrics, runs

    with sentences():
        fetch(args)
        path = args.weights or runs.latest()
        trained = runs.open_trained(path, args.model, args.variant)
        net = trained.net.to(args.device)
        if args.data is None and trained.data is not None:
            source, test = trained.data, data.load(trained.data).test
        elif args.data is None:
            raise ValueError(f"{path} does not say what it was trained on: name the data to test it on with --data")
        else:
            source, test = args.data, data.load_test(args.data, trained.classes)
        if len(test.classes) != net.num_classes:
            raise ValueError(f"{source} has {len(test.classes)} classes, but {path} knows {net.num_classes}")
        batch_size = -(-args.batch_size // 10) if args.ten_crop else args.batch_size
        loader = data.Loader(test, trained.preparation, batch_size, ten_crop=args.ten_crop)
        batches = tqdm(loader.batches(), total=len(loader), desc="evaluate", unit="batch", leave=False, disable=None)
        result = metrics.evaluate(net, batches)
        if args.out:
            _write(args.out, f"{path} on {source}", test.classes, result)

    if args.json:
        figures = {name: getattr(result, name) for name in ("images", "loss", "top1", "top5")}
        print_json({"weights": str(path), "data": str(source), **figures, "skipped": loader.skipped})
        return 0
    for picture, reason in loader.skipped.items():
        print(f"left out: {picture}: {reason}", file=sys.stderr)
    print(f"{path} on {result.images:,} images of {source}")
    top5 = f"   top-5 {result.top5:.1%}" if net.num_classes > 5 else ""
    print(f"loss {result.loss:.4f}   top-1 {result.top1:.1%}{top5}".replace("%", " %"))
    return 0


def _write(folder: Path, what: str, classes: Sequence[str], result: "Evaluation") -> None:
    from .. import runs

    folder.mkdir(parents=True, exist_ok=True)
    runs.write_evaluation(folder, classes, result)
    if find_spec("matplotlib"):
        from .. import figures

        title = f"{what}: accuracy {100 * result.top1:.1f} %"
        figures.confusion_figure(folder / runs.CONFUSION_FIGURE, title, classes, result)

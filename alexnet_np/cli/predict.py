"""Say what is on pictures: the five likeliest classes of each, with their probabilities.

A run knows the names of its classes. Weights for 1000 classes that come without a run are taken for ImageNet's, in
the order that torchvision and Keras have; --classes names others.
"""

import argparse
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from .common import add_device, add_json, add_model, add_weights, print_json, sentences

if TYPE_CHECKING:
    from ..runs import Trained

# Written by: python -c "from torchvision.models import AlexNet_Weights as w; \
#                        print(*w.IMAGENET1K_V1.meta['categories'], sep='\n')"
IMAGENET_CLASSES = "imagenet_classes.txt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="JPEG, PNG or another format that Pillow reads")
    add_weights(parser)
    add_model(parser)
    parser.add_argument(
        "--classes", metavar="FILE", help="a text file with the name of a class in each line (default: the run's own)"
    )
    add_device(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import numpy as np

    from .. import metrics, runs
    from ..data import images

    with sentences():
        given = read_names(args.classes) if args.classes else None
        pictures = [images.read(path) for path in args.images]
        trained = runs.open_trained(args.weights or runs.latest(), args.model, args.variant)
        classes = class_names(trained, given)
        net = trained.net.to(args.device)

    results = []
    for path, picture in zip(args.images, pictures, strict=True):
        prepared = trained.preparation.normalise(trained.preparation.for_testing(picture))
        probabilities = metrics.probabilities(net, prepared[None])[0]
        top = np.argsort(-probabilities, kind="stable")[:5]
        guesses = [{"class": classes[k], "probability": float(probabilities[k])} for k in top]
        results.append({"image": path, "top": guesses})

    if args.json:
        print_json(results)
        return 0
    for result in results:
        print(result["image"])
        for guess in result["top"]:
            print(f"  {100 * guess['probability']:5.1f} %  {guess['class']}")
    return 0


def read_names(path: str) -> list[str]:
    """The lines of a text file."""
    try:
        return Path(path).read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"--classes: expected text in UTF-8 in {path} ({error})") from error


def class_names(trained: "Trained", given: list[str] | None) -> list[str]:
    """Those given, the run's own, ImageNet's, or numbers."""
    expected = trained.net.num_classes
    if given is not None:
        if len(given) != expected:
            raise ValueError(f"--classes: expected {expected} lines, one for each class, got {len(given)}")
        return given
    if trained.classes:
        return trained.classes
    if expected == 1000:
        return files("alexnet_np").joinpath(IMAGENET_CLASSES).read_text("utf-8").splitlines()
    return [f"class {number}" for number in range(expected)]

"""Say what is on images: the five likeliest classes of each, with their probabilities.

A run, and a file of weights that describes itself, know their network, their classes and how images are prepared. Of
other files these are assumed, and a note says so: torchvision's AlexNet (alexnet_keras for Keras's files), its
preparation, and for 1000 classes ImageNet's names, in the order that torchvision and Keras have. --model and --classes
say otherwise.
"""

import argparse
from typing import TYPE_CHECKING

from .class_names import add_classes, known_names
from .common import OF_WEIGHTS, add_device, add_json, add_model, add_weights, assumed_of, print_json, sentences, tell_of

if TYPE_CHECKING:
    from ..runs import Trained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="JPEG, PNG or another format that Pillow reads")
    add_weights(parser)
    add_model(parser, OF_WEIGHTS)
    add_classes(parser)
    add_device(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import numpy as np

    from .. import metrics, runs
    from ..data import classes, images

    with sentences():
        pictures = [images.read(path) for path in args.images]
        path = args.weights or runs.latest()
        trained = runs.open_trained(path, args.model, args.variant)
        names, assumed = class_names(trained, args.classes)
        net = trained.net.to(args.device)

    results = []
    for image, picture in zip(args.images, pictures, strict=True):
        prepared = trained.preparation.normalise(trained.preparation.for_testing(picture))
        with sentences(ArithmeticError):
            probabilities = metrics.probabilities(net, prepared[None])[0]
        top = np.argsort(-probabilities, kind="stable")[:5]
        guesses = [{"class": names[k], "probability": float(probabilities[k])} for k in top]
        results.append({"image": image, "top": guesses})

    if args.json:
        print_json([result | {"assumed": assumed_of(trained, assumed), "notes": trained.notes} for result in results])
        return 0
    tell_of(path, assumed_of(trained, assumed), trained.notes)
    for result in results:
        print(result["image"])
        for guess in result["top"]:
            print(f"  {100 * guess['probability']:5.1f} %  {classes.printable(guess['class'])}")
    return 0


def class_names(trained: "Trained", file: str | None) -> tuple[list[str], str | None]:
    """See known_names; numbers where nobody says them."""
    names, assumed = known_names(trained, file)
    if names:
        return names, assumed
    return [f"class {number}" for number in range(trained.net.num_classes)], "numbers (--classes FILE names them)"

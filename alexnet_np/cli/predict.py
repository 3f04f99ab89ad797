"""Say what is on pictures: the five likeliest classes of each, with their probabilities.

A run, and a file of weights that describes itself, know their network, their classes and how images are prepared. Of
other files these are assumed, and a note says so: torchvision's AlexNet, its preparation, and for 1000 classes
ImageNet's names, in the order that torchvision and Keras have. --model and --classes say otherwise.
"""

import argparse
from typing import TYPE_CHECKING

from .class_names import add_classes, given_names, imagenet_names
from .common import OF_WEIGHTS, add_device, add_json, add_model, add_weights, print_json, sentences, tell_of

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
    from ..data import images

    with sentences():
        pictures = [images.read(path) for path in args.images]
        path = args.weights or runs.latest()
        trained = runs.open_trained(path, args.model, args.variant)
        classes, assumed = class_names(trained, args.classes)
        net = trained.net.to(args.device)

    results = []
    for image, picture in zip(args.images, pictures, strict=True):
        prepared = trained.preparation.normalise(trained.preparation.for_testing(picture))
        probabilities = metrics.probabilities(net, prepared[None])[0]
        top = np.argsort(-probabilities, kind="stable")[:5]
        guesses = [{"class": classes[k], "probability": float(probabilities[k])} for k in top]
        results.append({"image": image, "top": guesses})

    if args.json:
        what = trained.assumed | ({"classes": assumed} if assumed else {})
        print_json([result | {"assumed": what, "notes": trained.notes} for result in results])
        return 0
    tell_of(path, trained, assumed)
    for result in results:
        print(result["image"])
        for guess in result["top"]:
            print(f"  {100 * guess['probability']:5.1f} %  {guess['class']}")
    return 0


def class_names(trained: "Trained", file: str | None) -> tuple[list[str], str | None]:
    """The names in a file, the network's own, ImageNet's, or numbers; and what of them is assumed, in words."""
    if file is not None:
        return given_names(trained, file), None
    if trained.classes:
        return trained.classes, None
    if trained.net.num_classes == 1000:
        return imagenet_names(), "ImageNet's names, in torchvision's order"
    return [f"class {number}" for number in range(trained.net.num_classes)], "numbers (--classes FILE names them)"

"""Say what is on pictures: the five likeliest classes of each, with their probabilities."""

import argparse

from .common import add_device, add_json, add_model, add_weights, print_json, sentences


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="JPEG, PNG or another format that Pillow reads")
    add_weights(parser)
    add_model(parser)
    add_device(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    import numpy as np

    from .. import metrics, runs
    from ..data import images

    with sentences():
        pictures = [images.read(path) for path in args.images]
        trained = runs.open_trained(args.weights or runs.latest(), args.model, args.variant)
        net = trained.net.to(args.device)
    classes = trained.classes or [f"class {number}" for number in range(net.num_classes)]

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

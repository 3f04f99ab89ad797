"""Say what is on images: the five likeliest classes of each, with their probabilities.

A run, and a file of weights that describes itself, know their network, their classes and how images are prepared. Of
other files these are assumed, and a note says so: torchvision's AlexNet (alexnet_keras for Keras's files), its
preparation, and for 1000 classes ImageNet's names, in the order that torchvision and Keras have. --model and --classes
say otherwise.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .class_names import add_classes, known_names
from .common import OF_WEIGHTS, add_device, add_json, add_model, add_weights, assumed_of, print_json, sentences, tell_of

if TYPE_CHECKING:
    import numpy as np

    from ..data import Preparation
    from ..runs import Trained

BATCH = 16  # images that the network sees together


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
    from ..reading import printable

    with sentences():
        path = args.weights or runs.latest()
        trained = runs.open_trained(path, args.model, args.variant)
        names, assumed = class_names(trained, args.classes)
        net = trained.net.to(args.device)
    if not args.json:
        tell_of(path, assumed_of(trained, assumed), trained.notes)

    results = []
    batches = _batches(args.images, trained.preparation)
    while True:
        with sentences():
            batch = next(batches, None)
        if batch is None:
            break
        with sentences(ArithmeticError):
            answers = metrics.probabilities(net, np.stack([prepared for _, prepared in batch]))
        for (image, _), probabilities in zip(batch, answers, strict=True):
            top = np.argsort(-probabilities, kind="stable")[:5]
            guesses = [{"class": names[k], "probability": float(probabilities[k])} for k in top]
            results.append({"image": image, "top": guesses})
            if not args.json:
                print(image)
                for guess in guesses:
                    print(f"  {100 * guess['probability']:5.1f} %  {printable(guess['class'])}", flush=True)
    if args.json:
        print_json([result | {"assumed": assumed_of(trained, assumed), "notes": trained.notes} for result in results])
    return 0


def _batches(paths: Sequence[str], preparation: "Preparation") -> "Iterator[list[tuple[str, np.ndarray]]]":
    """Images, prepared by threads, with their paths; a few at a time, because images may be large.

    An image that cannot be read raises its error after the batch of those before it.
    """
    from ..data import images
    from ..data.parallel import in_order

    def prepared(path: str) -> "np.ndarray":
        image = images.read(path)
        try:
            return preparation.normalise(preparation.for_testing(image))
        except ValueError as error:
            raise images.PictureError(path, str(error)) from error

    results = in_order(prepared, paths)
    batch: list[tuple[str, np.ndarray]] = []
    failed: Exception | None = None
    for path in paths:
        try:
            batch.append((path, next(results)))
        except (OSError, ValueError, MemoryError) as error:
            failed = error
            break
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
    if failed is not None:
        raise failed


def class_names(trained: "Trained", file: str | None) -> tuple[list[str], str | None]:
    """See known_names; numbers where nobody says them."""
    names, assumed = known_names(trained, file)
    if names:
        return names, assumed
    return [f"class {number}" for number in range(trained.net.num_classes)], "numbers (--classes FILE names them)"

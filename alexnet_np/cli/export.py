"""Write weights for other programs: the end of the name says what.

    alexnet-np export net.onnx            the whole network, for ONNX Runtime and others
    alexnet-np export net.safetensors     for torchvision: load_state_dict(safetensors.torch.load_file(...))
    alexnet-np export net.weights.h5      for a Keras model with the same layers: load_weights
    alexnet-np export net.keras           the Keras model, of alexnet_keras: keras.saving.load_model

.onnx and .safetensors files also keep the names of the classes and how images are prepared, with the mean image if
there is one. docs/weights.md says how to read that, and what each of them expects of its images.
"""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from .common import OF_WEIGHTS, UserError, add_model, add_weights, count, sentences, tell_of

if TYPE_CHECKING:
    from ..data import Preparation
    from ..runs import Trained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="to write: .onnx, .safetensors, .weights.h5 or .keras")
    add_weights(parser)
    add_model(parser, OF_WEIGHTS)
    parser.add_argument(
        "--size",
        type=count,
        metavar="PIXELS",
        help="side of the images that a .onnx file takes, in pixels, e.g. 224; for .onnx files only (default: as in "
        "training where the weights say it; else 224, or 227 for alexnet_keras)",
    )


def run(args: argparse.Namespace) -> int:
    from .. import runs, weights

    with sentences():
        onnx = args.file.endswith(".onnx")
        if args.size and not onnx:
            raise UserError(f"--size: expected a .onnx file, which has the size of its images, got {args.file}")
        path = args.weights or runs.latest()
        trained = runs.open_trained(path, args.model, args.variant)
        preparation = _of_size(trained.preparation, args.size)
        size = preparation.size
        description = trained.description and replace(trained.description, preparation=preparation)
        if onnx:
            weights.export_onnx(trained.net, args.file, (size, size), description)
        elif args.file.endswith(weights.SAFETENSORS):
            weights.save(trained.net, args.file, description)
        else:
            weights.save(trained.net, args.file)
    tell_of(path, trained.assumed, trained.notes)
    name = type(trained.net).__name__
    print(f"{args.file}: {name} for {trained.net.num_classes} classes, from {path}")
    print(f"Images: {preparation.in_words()}")
    if onnx:
        print(f"as (N, 3, {size}, {size}), channels first")
    kept = _kept(args.file, trained)
    if kept:
        print(kept)
    return 0


def _of_size(preparation: "Preparation", size: int | None) -> "Preparation":
    """The same for squares of another size, cut from images that are resized in proportion."""
    if size is None or size == preparation.size:
        return preparation
    if preparation.mean_image is not None:
        raise ValueError(f"--size: expected {preparation.size}, the size of the run, whose mean image fits no other")
    return replace(preparation, size=size, resize=round(size * preparation.resize / preparation.size))


def _kept(file: str, trained: "Trained") -> str | None:
    from .. import weights

    if not file.endswith((".onnx", weights.SAFETENSORS)):
        return "It does not keep the names of the classes, nor how images are prepared: keep these lines"
    if trained.description is None:
        return "It does not say how images are prepared, for the weights did not: keep these lines"
    return None

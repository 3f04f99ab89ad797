"""Write weights for other programs: the end of the name says what.

    alexnet-np export net.onnx            the whole network, for ONNX Runtime and others
    alexnet-np export net.safetensors     for torchvision: load_state_dict(safetensors.torch.load_file(...))
    alexnet-np export net.weights.h5      for a Keras model with the same layers: load_weights
    alexnet-np export net.keras           the Keras model, of alexnet_keras: keras.saving.load_model

docs/weights.md says what each of them expects of its images.
"""

import argparse

from .common import add_model, add_weights, count, sentences


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="to write: .onnx, .safetensors, .weights.h5 or .keras")
    add_weights(parser)
    add_model(parser)
    parser.add_argument(
        "--size", type=count, metavar="PIXELS", help="of a side, fixed in a .onnx file (default: the run's, else 224)"
    )


def run(args: argparse.Namespace) -> int:
    from .. import runs, weights

    with sentences():
        path = args.weights or runs.latest()
        trained = runs.open_trained(path, args.model, args.variant)
        size = args.size or trained.preparation.size
        if args.file.endswith(".onnx"):
            weights.export_onnx(trained.net, args.file, (size, size))
        else:
            weights.save(trained.net, args.file)
    name, preparation = type(trained.net).__name__, trained.preparation
    print(f"{args.file}: {name} for {trained.net.num_classes} classes, from {path}")
    mean = preparation.mean_image or preparation.mean
    print(f"It takes RGB, 0 to 1, less {mean}, divided by {preparation.std}")
    if args.file.endswith(".onnx"):
        print(f"as images (N, 3, {size}, {size})")
    return 0

"""Print a network as a table: layers, shapes, parameters, and what it costs.

The torch, keras and keras3 tables are torchsummary's, tf.keras's and Keras 3's, character for character;
repr is what print(net) gives; costs adds multiply-adds and memory for a batch.
"""

import argparse
from dataclasses import asdict

from .common import UserError, add_json, add_model, count, print_json, sentences

STYLES = ("torch", "keras", "keras3", "repr", "costs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--style", choices=STYLES, help="(default: keras for alexnet_keras, else torch)")
    parser.add_argument(
        "--size", type=count, metavar="PIXELS", help="side of the images (default: 224; 227 for alexnet_keras)"
    )
    parser.add_argument("--num-classes", type=count, default=1000, metavar="K", help="(default: %(default)s)")
    parser.add_argument(
        "--batch-size", type=count, metavar="N", help="images at once, for costs, algorithms and JSON (default: 1)"
    )
    parser.add_argument(
        "--algorithms",
        action="store_true",
        help="how the cpu engine computes each convolution, for --batch-size images",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from .. import runs, summary

    with sentences():
        model, variant = runs.chosen_model(args.model, args.variant)
        style = args.style or ("keras" if model == "alexnet_keras" else "torch")
        _check(args, style)
        size = args.size or runs.input_size(model) or 224
        batch_size = args.batch_size or 1
        net = runs.build(model, variant, args.num_classes, init="zeros")
        if args.algorithms:
            print(summary.algorithms(net, (batch_size, size, size, 3)))
        elif args.json:
            print_json([asdict(row) for row in summary.rows(net, (batch_size, size, size, 3))])
        elif style == "repr":
            print(net)
        elif style == "costs":
            print(summary.costs(net, (batch_size, size, size, 3)))
        elif style == "torch":
            print(summary.torchsummary(net, (3, size, size)))
        else:
            print(summary.keras(net, (size, size, 3), "keras2" if style == "keras" else "keras3"))
    return 0


def _check(args: argparse.Namespace, style: str) -> None:
    """Refuse what would make no difference."""
    if args.style and (args.json or args.algorithms):
        raise UserError(f"--style {style}: expected no {'--json' if args.json else '--algorithms'} beside it")
    if args.json and args.algorithms:
        raise UserError("--algorithms: expected no --json beside it")
    if args.batch_size and not (style == "costs" or args.json or args.algorithms):
        raise UserError("--batch-size: expected --style costs, --algorithms or --json with it")
    if args.size and style == "repr" and not (args.json or args.algorithms):
        raise UserError("--size: expected another --style: repr shows no sizes")

"""Check the gradients of every op against slopes of its forward; exit code 1 if one is wrong."""

import argparse
import math
from dataclasses import asdict

from .common import add_device, add_json, print_json, sentences


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", action="store_true", help="check the three AlexNets, too (a minute and 5 GB)")
    add_device(parser, default="reference")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from .. import gradcheck

    with sentences():
        result = gradcheck.report(args.device, args.networks)
    if args.json:
        rows = [asdict(row) | {"verdict": row.verdict} for row in result]
        print_json([row | {"error": row["error"] if math.isfinite(row["error"]) else None} for row in rows])
    else:
        verdict = "all gradients are right" if result.ok else "NOT ALL GRADIENTS ARE RIGHT"
        print(f"{result}\n\nworst error {result.error:.1e}: {verdict}")
    return 0 if result.ok else 1

"""Look for what is wrong with a data set before a training run; exit code 1 if something is.

Every picture is decoded. Listed are those that cannot be, very small or narrow ones, pictures that are in the
training set and in the test set, pictures in two classes, classes without pictures, and classes that only one of
the two sets has. How many pictures are converted when they are read (CMYK, 16 bits, ...) is said, but not wrong.
"""

import argparse
from dataclasses import asdict

from .common import add_download, add_json, fetch, listed, print_json, sentences

KINDS = {
    "data": "Cannot be used",
    "class": "Classes",
    "unreadable": "Cannot be read: training would skip them",
    "size": "Odd sizes",
    "duplicate": "In the training and in the test set",
    "label": "In two classes",
}
SHOWN = 10  # of each kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="a folder, or another source that train --data takes")
    add_download(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..data.check import check

    with sentences():
        fetch(args)
        report = check(
            args.data,
            lambda looks, total: tqdm(looks, desc="check-data", total=total, unit="picture", leave=False, disable=None),
        )
    if args.json:
        print_json(asdict(report) | {"ok": report.ok})
        return 0 if report.ok else 1

    if report.pictures:
        parts = ", ".join(f"{number:,} to {part}" for part, number in report.pictures.items())
        print(f"{args.data}: {parts}; {len(report.classes)} classes")
    if report.converted:
        print(f"Converted: {listed(report.converted)}")
    if report.passed_over:
        print(f"Passed over, being no pictures by their names: {listed(report.passed_over)}")
    for kind, title in KINDS.items():
        findings = [finding for finding in report.findings if finding.kind == kind]
        if findings:
            print(f"\n{title} ({len(findings):,})")
        for finding in findings[:SHOWN]:
            print(f"  {finding.path}: {finding.text}" if kind != "data" else f"  {finding.text}")
        if len(findings) > SHOWN:
            print(f"  ... and {len(findings) - SHOWN:,} more: --json lists all")
    if report.ok:
        print("Nothing is wrong.")
    return 0 if report.ok else 1

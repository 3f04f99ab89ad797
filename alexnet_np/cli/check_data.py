"""Look for what is wrong with a data set before a training run; exit code 1 if something is.

Every image is decoded. Listed are images that cannot be decoded, that have one colour only, that are very small or
narrow, that are in two parts of the data or in two classes, and images that training would ignore; also classes without
images, and classes that one part lacks. How many images are converted when they are read (CMYK, 16 bits, ...) is said,
but not wrong.
"""

import argparse
from dataclasses import asdict

from .common import add_download, add_json, fetch, listed, print_json, sentences

KINDS = {
    "data": "Cannot be used",
    "class": "Classes",
    "ignored": "Ignored images",
    "unreadable": "Cannot be read: training would skip them",
    "blank": "Of one colour",
    "size": "Odd sizes",
    "duplicate": "In two parts of the data",
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
    from ..reading import printable

    with sentences():
        fetch(args)
        report = check(
            args.data,
            lambda looks, total: tqdm(looks, desc="check-data", total=total, unit="image", leave=False, disable=None),
        )
    if args.json:
        print_json(asdict(report) | {"ok": report.ok})
        return 0 if report.ok else 1

    if report.pictures:
        parts = ", ".join(f"{number:,} to {part}" for part, number in report.pictures.items())
        print(f"{args.data}: {parts}; {len(report.classes)} classes")
    for note in report.notes:
        print(f"Note: {printable(note)}")
    if report.converted:
        print(f"Converted: {listed(report.converted)}")
    if report.remarks:
        print(f"Remarks of Pillow and libtiff, on images each: {listed(report.remarks)}")
    if report.passed_over:
        print(f"Ignored files, whose names end in no format that is read: {printable(listed(report.passed_over))}")
    for kind, title in KINDS.items():
        findings = [finding for finding in report.findings if finding.kind == kind]
        if findings:
            print(f"\n{title} ({len(findings):,})")
        for finding in findings[:SHOWN]:
            print(f"  {printable(finding.text if kind == 'data' else str(finding))}")
        if len(findings) > SHOWN:
            print(f"  ... and {len(findings) - SHOWN:,} more: --json lists all")
    if report.ok:
        print("Nothing is wrong.")
    return 0 if report.ok else 1

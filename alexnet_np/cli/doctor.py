"""Examine the installation: versions, BLAS, threads, caches, GPU; what is wrong, and how to mend it."""

import argparse
from dataclasses import asdict

from .common import add_json, print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from .. import doctor

    findings = doctor.examine()
    if args.json:
        print_json([asdict(finding) for finding in findings])
    else:
        print(doctor.report(findings))
    return 1 if any(finding.level == "problem" for finding in findings) else 0

"""Check the gradients of every op, and a device's float32 kernels; exit code 1 if anything is wrong.

Gradients are compared with slopes of forward, in float64. "cpu" computes float64 with the reference kernels. So on
"cpu" and "gpu" the device's own float32 kernels are also compared with the reference in float64.
"""

import argparse
import math
from dataclasses import asdict

from .common import add_device, add_json, print_json, sentences

CHECKED = {
    "float64": "gradients against slopes of forward",
    "float32": "kernels against the reference in float64",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", action="store_true", help="check the three AlexNets, too (a minute and 5 GB)")
    add_device(parser, default="reference")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from .. import gradcheck

    with sentences():
        result = gradcheck.report(args.device, args.networks)
    if args.json:
        found = [asdict(row) | {"dtype": row.dtype, "verdict": row.verdict} for row in result]
        print_json([row | {"error": row["error"] if math.isfinite(row["error"]) else None} for row in found])
    else:
        print(result, end="\n\n")
        by_dtype = {dtype: gradcheck.Result([row for row in result if row.dtype == dtype]) for dtype in CHECKED}
        for dtype, rows in by_dtype.items():
            if rows.rows:
                falls_back = dtype == "float64" and args.device == "cpu"
                kernels = "reference kernels, as cpu has none" if falls_back else args.device
                print(f"{dtype} ({kernels}): {CHECKED[dtype]}: {len(rows.rows)} rows, worst error {rows.error:.1e}")
        print("all gradients are right" if result.ok else "NOT ALL GRADIENTS ARE RIGHT")
    return 0 if result.ok else 1

"""The command line: python -m benchmarks [gpu | profile | training | compare | report | readme]."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from alexnet_np import strict_json

from . import compare, gpu, machine, plots, readme, report
from .contenders import ENTRIES, Entry
from .run import Run, Settings
from .worker import ROOT

RESULTS = ROOT / "benchmarks" / "results"
QUICK: dict[str, Any] = {"batches": (16,), "rounds": 2, "turn_s": 0.3, "parts": ("network",)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    arguments = _parser().parse_args(argv)
    commands = {
        None: _run,
        "gpu": _gpu,
        "profile": _profile,
        "training": _training,
        "compare": _compare,
        "report": _report,
        "readme": _readme,
    }
    command = commands[arguments.command]
    try:
        return command(arguments)
    except (ModuleNotFoundError, OSError, ValueError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this project and its peers side by side: inference, training, layers, start and memory.",
        epilog=_names(ENTRIES),
    )
    quick = "batch 16, two short rounds, the network only: two minutes on two cores"
    _add_settings(parser, Run, (1, 16, 128), 5, "all", quick)
    parser.add_argument("--threads", type=_positive, help="for every contender (the cores that this process may use)")

    commands = parser.add_subparsers(dest="command", metavar="command", title="on results")
    add = commands.add_parser("gpu", help="the same on a GPU, in three precisions", epilog=_names(gpu.GpuRun.field))
    _add_settings(add, gpu.GpuRun, gpu.BATCHES, gpu.DEFAULTS["rounds"], "network", "batch 128 only")
    add.add_argument("--precision", choices=tuple(gpu.PRECISIONS), help="everybody of this one, compilers too")
    minutes = gpu.DEFAULTS["minutes"]
    add.add_argument(
        "--minutes", type=float, help=f"nothing is begun after so many; what is complete is kept ({minutes})"
    )
    add = commands.add_parser("profile", help="where this project's training step spends its time on a CPU")
    add.add_argument("--batch", type=_positive, default=128, metavar="N", dest="batch_size", help="(128)")
    add = commands.add_parser("training", help="a run of alexnet-np train again, beside PyTorch's with the same masks")
    add.add_argument("run", type=Path, help="its folder")
    add.add_argument("--output", type=Path, help="folder for the losses, the report and the plot (runs/training-DATE)")
    add = commands.add_parser("compare", help="what changed between two results, with the noise")
    add.add_argument("old", type=Path)
    add.add_argument("new", type=Path)
    add = commands.add_parser("report", help="tables and plots of a result.json again")
    add.add_argument("result", type=Path)
    add = commands.add_parser("readme", help="put the table of a result.json into README.md")
    add.add_argument("result", type=Path, nargs="?", help="(the newest in benchmarks/results)")
    return parser


def _add_settings(
    parser: argparse.ArgumentParser, run: type[Run], batches: Sequence[int], rounds: int, parts: str, quick: str
) -> None:
    parser.add_argument("--quick", action="store_true", help=quick)
    names = _some_of([entry.name for entry in run.field])
    parser.add_argument("--contenders", type=names, metavar="A,B", help="only these; see below")
    sizes = ",".join(map(str, batches))
    parser.add_argument("--batch", type=_sizes, metavar="N,N", dest="batches", help=f"batch sizes ({sizes})")
    parser.add_argument("--rounds", type=_positive, help=f"turns of every contender ({rounds})")
    parser.add_argument("--parts", type=_some_of(run.parts), metavar="P,P", help=f"of {','.join(run.parts)} ({parts})")
    parser.add_argument(
        "--output", type=Path, help="folder for result.json, report.txt and the plots (runs/benchmark-DATE)"
    )


def _names(field: Sequence[Entry]) -> str:
    return "contenders: " + ", ".join(entry.name for entry in field)


def _run(arguments: argparse.Namespace) -> int:
    names = [entry.name for entry in ENTRIES if entry.quick or not arguments.quick]
    return _measure(arguments, Run, {"contenders": tuple(names), **(QUICK if arguments.quick else {})})


def _gpu(arguments: argparse.Namespace) -> int:
    if problem := gpu.problem_here():
        raise ValueError(problem)
    asked = arguments.precision
    names = [entry.name for entry in gpu.GpuRun.field if (entry.precision == asked if asked else not entry.slow)]
    chosen = {"contenders": tuple(names), **gpu.DEFAULTS}
    return _measure(arguments, gpu.GpuRun, chosen | (gpu.QUICK if arguments.quick else {}))


def _measure(arguments: argparse.Namespace, run: type[Run], chosen: dict[str, Any]) -> int:
    keys = ("contenders", "batches", "threads", "rounds", "parts", "minutes")
    given = {key: value for key in keys if (value := getattr(arguments, key, None))}
    settings = Settings(**{"threads": machine.cores_allowed(), **chosen, **given})
    if settings.threads > machine.cores_allowed():
        raise ValueError(
            f"--threads: expected at most {machine.cores_allowed()}, the cores allowed, got {settings.threads}"
        )
    folder = arguments.output or ROOT / "runs" / f"benchmark-{datetime.now():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    result = run(settings, lambda result: _write(result, folder / "result.json"))()
    print(_show(result, folder))
    return 0


def _profile(arguments: argparse.Namespace) -> int:
    from . import profile  # the engine is of no use to the other commands

    print(profile.text(arguments.batch_size))
    return 0


def _training(arguments: argparse.Namespace) -> int:
    from . import training  # PyTorch is of no use to the other commands

    folder = arguments.output or ROOT / "runs" / f"training-{datetime.now():%Y%m%d-%H%M%S}"
    print(training.write(training.measure(training.Run.read(arguments.run), ROOT), folder))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    print(compare.text(_read(arguments.old), _read(arguments.new)), end="")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    print(_show(_read(arguments.result), arguments.result.parent))
    return 0


def _readme(arguments: argparse.Namespace) -> int:
    path = ROOT / "README.md"
    results = [arguments.result] if arguments.result else list(RESULTS.glob("*/result.json"))
    if not results:
        raise ValueError(f"expected a result.json, or one in a folder of {RESULTS}")
    newest = max(filter(_on_cpu, map(_read, results)), key=lambda result: result["date"])
    path.write_text(readme.replace(path.read_text(encoding="utf-8"), newest), encoding="utf-8")
    return 0


def _on_cpu(result: report.Result) -> bool:
    return "gpu" not in result["machine"]


def _show(result: report.Result, folder: Path) -> str:
    """Write report.txt and the plots into the folder; the text, with a line that says what was written."""
    text = report.text(result)
    (folder / "report.txt").write_text(text, encoding="utf-8")
    try:
        names = plots.draw(result, folder)
    except ImportError as error:
        return f"{text}\n{folder}: result.json, report.txt; no plots, as matplotlib cannot be imported ({error})"
    return f"{text}\n{folder}: {', '.join(('result.json', 'report.txt', *names))}"


def _read(path: Path) -> Any:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not a result of this benchmark ({error})") from error
    if not isinstance(result, dict) or "network" not in result:
        raise ValueError(f"{path} is not a result of this benchmark")
    return result


def _write(result: report.Result, path: Path) -> None:
    """Whole or not at all: a run takes long, and may be stopped while this happens."""
    part = path.with_suffix(".part")
    part.write_text(strict_json.dumps(result, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def _some_of(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def chosen(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"expected some of {','.join(known)}, got {unknown[0]!r}")
        return names

    return chosen


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(_positive(size) for size in text.split(",")))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

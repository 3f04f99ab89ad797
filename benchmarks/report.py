"""A result as tables for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import correctness, problem
from .worker import BURST_S, WARM_S

Result = Mapping[str, Any]
WORKS = ("training step", "inference")
DIRECTIONS = ("forward", "backward")
BUSY, BUSY_GPU = 0.1, 1.0  # cores taken by other programs that spoil a result
GPU_STATE = {"sm_mhz": "MHz", "celsius": "degrees", "watts": "W"}  # which of machine.gpu_state is shown, and its unit


def text(result: Result) -> str:
    """All tables."""
    parts = [_head(result), *_network(result), *_layers(result), *_startup(result), *_left_out(result)]
    return "\n\n".join(parts) + "\n"


# ---- what plots, compare and readme use too


def machine_line(result: Result) -> str:
    """The machine in a few words: "AMD EPYC, AVX-512, 2 of 2 cores, Linux 6.18"."""
    machine = result["machine"]
    return f"{machine['cpu']}, {machine['simd']}, {machine['threads']} of {machine['cores']} cores, {machine['system']}"


def blas_line(result: Result) -> str:
    """NumPy's BLAS and its peak; of a GPU its name and its ceilings."""
    machine = result["machine"]
    if "gpu" in machine:
        if "gemm_gflops" not in machine:
            return f"{machine['gpu']}; ceilings not measured"
        gemm = ", ".join(f"{precision} {gflops / 1e3:.3g}" for precision, gflops in machine["gemm_gflops"].items())
        return f"{machine['gpu']}; a large product: {gemm} TFLOP/s; a large copy: {machine['copy_gbs']:.0f} GB/s"
    return f"NumPy on {', '.join(machine['blas'])}, sgemm peak {machine['sgemm_gflops']:.0f} GFLOP/s"


def peak(result: Result, name: str) -> float | None:
    """The GFLOP/s of a large matrix product in the contender's precision."""
    machine = result["machine"]
    if "gpu" in machine:
        return machine.get("gemm_gflops", {}).get(result["contenders"][name]["precision"])
    return machine["sgemm_gflops"]


def title(result: Result) -> str:
    return "AlexNet, 224x224x3" if "gpu" in result["machine"] else "AlexNet, float32, 224x224x3"


def versions_line(result: Result) -> str:
    """The version of every framework, each once."""
    contenders = result["contenders"].values()
    versions = {row["framework"]: row["version"] for row in contenders if "version" in row}
    return ", ".join(
        f"{name} {version}" for name, version in {**versions, "Python": result["machine"]["python"]}.items()
    )


def revision(result: Result) -> str:
    return f"{result['date'][:10]}, revision {result['commit'] or 'unknown'}"


def times(result: Result, work: str, N: int) -> list[Mapping[str, Any]]:
    """The figures of one comparison, the quickest first."""
    rows = [row for row in result["network"] if row["work"] == work and row["batch"] == N]
    return sorted(rows, key=lambda row: row["median_s"])


def batches(result: Result) -> list[int]:
    """The batch sizes that there are figures for."""
    return sorted({row["batch"] for row in result["network"]})


def label(result: Result, name: str) -> str:
    return result["contenders"][name]["label"]


def ms(seconds: float) -> str:
    """Milliseconds with three figures: 6.31, 62.4, 1241."""
    value = seconds * 1e3
    return f"{value:.{max(0, 3 - len(str(int(value))))}f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        return "  ".join(["", cells[0].ljust(len(first)), *others])

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


# ---- the tables


METHOD = """\
A training step is forward, loss, the gradients of all parameters (not of the images), and SGD with
momentum {momentum} and weight decay {weight_decay}; dropout draws new masks in every step. Every contender has a
process of its own and {threads} threads. They take turns: {rounds} rounds, each turn of at least {turn_s:g} s after a
call that is not counted. Times are medians. A ratio is a time over that of the quickest peer in the
same round (median and range). GFLOP/s count the operations of direct convolution: with fewer
multiplications they may pass the peak. Errors are the worst relative L2 errors against float64."""
METHOD_GPU = """\
A training step is forward, loss, the gradients of all parameters (not of the images), and SGD with
momentum {momentum} and weight decay {weight_decay}; dropout draws new masks in every step, and nobody reads
the loss. Every contender has a process of its own, and the GPU for itself: {rounds} turns of at least
{turn_s:g} s after {warm:g} s that are not counted. Calls are timed in bursts of {burst:g} s, which end when the GPU
has finished; the time of a call is its share. Caches are not emptied in between. Times are medians of the
turns. A precision is that of products ("tf32") or of activations too ("bfloat16"; weights are kept in
float32). A ratio is to the quickest peer of the same precision; its range is that of any two turns. A
backward alone is a burst of both, less the time of a forward. A layer alone gets what its framework's network hands
it. In bfloat16 that is weights and images in float32, which each forward rounds, and all other activations and
their gradients in bfloat16; but what this project's products give, and the gradient of that, is bfloat16 only
where a ReLU follows, and here it is float32. GFLOP/s count the operations of direct convolution, GB/s in
bfloat16 two bytes for every number. Errors are the worst relative L2 errors against float64."""
CAUTION = "CAUTION: other programs were computing on this machine. Do not trust these figures."


def _head(result: Result) -> str:
    idle, others = (max((load[key] for load in result["load"]), default=0.0) for key in ("idle_contenders", "others"))
    on_gpu = "gpu" in result["machine"]
    method = METHOD_GPU if on_gpu else METHOD
    constants = {"momentum": problem.MOMENTUM, "weight_decay": problem.WEIGHT_DECAY, "warm": WARM_S, "burst": BURST_S}
    lines = [
        f"{title(result)}, {problem.CLASSES} classes ({revision(result)})",
        "",
        machine_line(result),
        blas_line(result),
        versions_line(result),
        "",
        method.format(**constants, **result["settings"]),
        *_steadiness(result),
        f"Other programs kept at most {others:.2f} cores busy, waiting contenders {idle:.2f}.",
        *([CAUTION] if others > (BUSY_GPU if on_gpu else BUSY) else []),
    ]
    return "\n".join(lines)


def _steadiness(result: Result) -> Iterator[str]:
    """Whether a GPU was the same all the time."""
    for name in dict.fromkeys(row["contender"] for row in result.get("again", ())):
        changes = [row["change"] for row in result["again"] if row["contender"] == name]
        yield f"{label(result, name)}, measured again behind the others: {min(changes):+.1%} to {max(changes):+.1%}."
    states = [state for state in result.get("gpu_states", ()) if GPU_STATE.keys() <= state.keys()]
    if states:
        ranges = (
            f"{min(s[key] for s in states):.0f}-{max(s[key] for s in states):.0f} {GPU_STATE[key]}" for key in GPU_STATE
        )
        yield f"After the training steps the GPU was at {', '.join(ranges)}."


def _network(result: Result) -> Iterator[str]:
    header = ("", "ms", "quartiles", "best", "images/s", "GFLOP/s", "of GEMM", "ratio", "range", "error")
    for work in WORKS:
        for N in batches(result):
            rows = [_network_row(result, row) for row in times(result, work, N)]
            if rows:
                yield f"{work.capitalize()}, batch {N}\n\n" + table(header, rows)


def _network_row(result: Result, row: Mapping[str, Any]) -> list[str]:
    ratios = ["-", "-"]
    if row["ratio"] is not None:
        ratios = [f"{row['ratio']:.2f}", f"{row['ratio_low']:.2f}-{row['ratio_high']:.2f}"]
    return [
        label(result, row["contender"]),
        ms(row["median_s"]),
        f"{ms(row['q1_s'])}-{ms(row['q3_s'])}",
        ms(row["best_s"]),
        f"{row['batch'] / row['median_s']:.1f}",
        f"{row['gflops']:.0f}",
        _share(row["gflops"], peak(result, row["contender"])),
        *ratios,
        f"{_network_error(result, row):.0e}",
    ]


def _share(rate: float, most: float | None) -> str:
    return "-" if most is None else f"{rate / most:.0%}"


def _network_error(result: Result, row: Mapping[str, Any]) -> float:
    kind = "logits" if row["work"] == "inference" else "gradient"
    for check in result["checks"]:
        if check["layer"] is None and (check["contender"], check["batch"]) == (row["contender"], row["batch"]):
            return correctness.worst(check["errors"])[kind]
    raise KeyError(f"{row['contender']} was timed without having been checked")


def _layers(result: Result) -> Iterator[str]:
    names = [name for name in result["contenders"] if any(row["contender"] == name for row in result["layers"])]
    if not names:
        return
    header = ["", *(label(result, name) for name in names)]
    N = result["layers"][0]["batch"]
    for direction, note in (("forward", ""), ("backward", " (gradients of input and parameters; conv1 without input)")):
        found = {
            (row["layer"], row["contender"]): ms(row["median_s"])
            for row in result["layers"]
            if row["direction"] == direction
        }
        yield f"Layers alone, {direction}{note}, batch {N}, ms\n\n" + table(header, _grid(found, names))
    errors = {
        (check["layer"], check["contender"]): f"{max(check['errors'].values()):.0e}"
        for check in result["checks"]
        if check["layer"]
    }
    yield "Layers alone, worst error of output and gradients\n\n" + table(header, _grid(errors, names))
    if "gpu" in result["machine"]:
        yield from _ceilings(result, names)


def _ceilings(result: Result, names: Sequence[str]) -> Iterator[str]:
    """How near this project's layers come to what the GPU can do: in products, or in bytes if each moves once."""
    units = ("TFLOP/s", "%", "GB/s", "%")
    header = ("", *(f"{direction} {unit}" for direction in DIRECTIONS for unit in units))
    for name in names:
        if result["contenders"][name]["ours"]:
            found = {(row["layer"], row["direction"]): row for row in result["layers"] if row["contender"] == name}
            rows = [
                [layer.name, *(cell for direction in DIRECTIONS for cell in _rates(result, layer, found, direction))]
                for layer in problem.LAYERS
            ]
            what = "layers alone: rates, and their shares of a large product and a large copy"
            yield f"{label(result, name)}, {what}\n\n" + table(header, rows)


def _rates(result: Result, layer: problem.Layer, found: Mapping[tuple[str, str], Any], direction: str) -> list[str]:
    row = found.get((layer.name, direction))
    if row is None or not row["median_s"]:  # a backward that is a difference of times may be 0
        return ["-"] * 4
    bytes_each = 2 if result["contenders"][row["contender"]]["precision"] == "bfloat16" else 4
    gbs = bytes_each * layer.traffic(direction, row["batch"]) / row["median_s"] / 1e9
    flops = [f"{row['gflops'] / 1e3:.3g}", _share(row["gflops"], peak(result, row["contender"]))]
    return [*(flops if layer.w else ["-", "-"]), f"{gbs:.0f}", _share(gbs, result["machine"].get("copy_gbs"))]


def _grid(cells: Mapping[tuple[str, str], str], names: Sequence[str]) -> list[list[str]]:
    """A row for every layer, a column for every contender."""
    return [[layer.name, *(cells.get((layer.name, name), "-") for name in names)] for layer in problem.LAYERS]


def _startup(result: Result) -> Iterator[str]:
    caches = {"none": "", "empty": ", nothing compiled", "filled": ", compiled"}
    header = ["", "import s", "build s", "first s", "together s", "imported MiB", "peak MiB", "difference MiB"]
    on_gpu = any("device_mib" in row for row in result["startup"])
    for N in sorted({row["batch"] for row in result["startup"]}):
        rows = []
        for row in result["startup"]:
            if row["batch"] == N:
                inference = ", inference" if row["work"] == "inference" else ""
                seconds = (f"{row[key]:.2f}" for key in ("import_s", "build_s", "first_s", "total_s"))
                memory = (row["imported_mib"], row["peak_mib"], row["peak_mib"] - row["imported_mib"])
                name = label(result, row["contender"]) + caches[row["cache"]] + inference
                rows.append([name, *seconds, *(f"{mib:.0f}" for mib in memory)])
                if on_gpu:
                    rows[-1].append(f"{row['device_mib']:.0f}" if "device_mib" in row else "-")
        yield (
            f"A fresh process, batch {N}: start and imports, making the network, the first training step; main memory\n"
            "after the imports, and at most in three steps (once each; files in the page cache)\n\n"
            + table([*header, *(["GPU MiB"] if on_gpu else [])], rows)
        )


def _left_out(result: Result) -> Iterator[str]:
    missing = [row for row in result["contenders"].values() if row["missing"]]
    lines = [f"  {row['label']}: not installed ({', '.join(row['missing'])})" for row in missing]
    lines += [f"  {label(result, row['contender'])}, {row['what']}: {row['reason']}" for row in result["excluded"]]
    if lines:
        yield "Not timed\n\n" + "\n".join(lines)

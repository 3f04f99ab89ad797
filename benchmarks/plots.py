"""A result as pictures: ratios to the quickest peer, single layers, time against batch size."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import problem, report
from .report import WORKS, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {
    "cpu": "#d62839",
    "im2col": "#ec8385",
    "reference": "#f5c4c2",
    "tensorflow": "#14506e",
    "pytorch": "#2f8fbf",
    "channels-last": "#74b8dc",
    "compile": "#b5d8ea",
    "jax": "#3f8f6b",
    "onnxruntime": "#7b5ea7",
    "numpy": "#9a9a9a",
    # on a GPU: a hue for each framework, paler from bfloat16 to float32
    "bfloat16": "#d62839",
    "bfloat16-eager": "#a85a5a",
    "tf32": "#ec8385",
    "tf32-eager": "#c9a09f",
    "float32": "#f5c4c2",
    "float32-eager": "#ddc9c8",
    "compile-bfloat16": "#14506e",
    "compile-tf32": "#3f7896",
    "compile-float32": "#7fa8bd",
    "inductor-bfloat16": "#5b4a8a",
    "inductor-tf32": "#8b7eb3",
    "inductor-float32": "#bdb5d5",
    "torch-bfloat16": "#2f8fbf",
    "torch-tf32": "#74b8dc",
    "torch-float32": "#b5d8ea",
    "jax-bfloat16": "#3f8f6b",
    "jax-tf32": "#7dbb9d",
    "jax-float32": "#bfdfce",
}
WIDEST = 3.0  # ratios beyond are cut off, and say so
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 10,
}


def draw(result: Result, folder: Path) -> list[str]:
    """Write the pictures that the result has figures for; their names."""
    import matplotlib

    names = []
    with matplotlib.rc_context(STYLE):
        for name, picture in (("ratios.png", _ratios), ("layers.png", _layers), ("batches.png", _batches)):
            figure = picture(result)
            if figure is not None:
                figure.savefig(folder / name, dpi=150)
                names.append(name)
    return names


def _ratios(result: Result) -> "Figure | None":
    """A panel for each work and batch size: bars of the ratio to the quickest peer."""
    batches = report.batches(result)
    lines = [
        [[row for row in report.times(result, work, N) if row["ratio"] is not None] for N in batches] for work in WORKS
    ]
    most = [max((len(rows) for rows in line), default=0) for line in lines]
    if not any(most):
        return None
    figure = _figure(max(7.0, 1.2 + 4.1 * len(batches)), 2.0 + 0.27 * sum(most))
    axes = figure.subplots(len(lines), len(batches), squeeze=False, height_ratios=[max(rows, 1) for rows in most])
    for i, work in enumerate(WORKS):
        for j, N in enumerate(batches):
            axes[i, j].set_title(f"{work.capitalize()}, batch {N}")
            _ratio_bars(axes[i, j], result, lines[i][j])
    for ax in axes[-1]:
        ax.set_xlabel("time / time of the quickest peer")
    peer = "the quickest peer of the same precision" if "gpu" in result["machine"] else "the quickest peer"
    _caption(figure, result, f"{report.title(result)}: time against {peer} (less is better)")
    return figure


def _ratio_bars(ax: Any, result: Result, rows: Sequence[Mapping[str, Any]]) -> None:
    ax.set_yticks(range(len(rows)), [report.label(result, row["contender"]) for row in rows])
    for y, row in enumerate(rows):
        ratio, cut = row["ratio"], row["ratio"] > WIDEST
        ax.barh(y, min(ratio, WIDEST), color=_colour(row["contender"]), height=0.72)
        x, side, text = (WIDEST - 0.05, "right", f"{ratio:.2f} »") if cut else (ratio + 0.05, "left", f"{ratio:.2f}")
        box = {"facecolor": "none" if cut else "white", "edgecolor": "none", "pad": 0.8}  # hides the line at 1
        ax.text(x, y, text, ha=side, va="center", fontsize=8, bbox=box)
        beside = ax.get_yaxis_transform()
        ax.text(1.02, y, f"{report.ms(row['median_s'])} ms", va="center", fontsize=8, transform=beside)
        ax.get_yticklabels()[y].set_fontweight("bold" if result["contenders"][row["contender"]]["ours"] else "normal")
    ax.axvline(1, color="black", linewidth=0.8, linestyle=":", zorder=0.5)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12 * WIDEST)  # room for the figure beside the longest
    ax.tick_params(axis="y", length=0)


def _layers(result: Result) -> "Figure | None":
    """Grouped bars of every layer's forward and backward."""
    if not result["layers"]:
        return None
    found = {(row["direction"], row["contender"], row["layer"]): row for row in result["layers"]}
    names = [name for name in result["contenders"] if any(key[1] == name for key in found)]
    layers = [layer.name for layer in problem.LAYERS]
    figure = _figure(12, 7.5)
    axes = figure.subplots(2, 1, sharex=True)
    width = 0.84 / len(names)
    for direction, ax in zip(("forward", "backward"), axes, strict=True):
        ax.set_title(f"{direction.capitalize()}, batch {result['layers'][0]['batch']}")
        for i, name in enumerate(names):
            rows = [found.get((direction, name, layer)) for layer in layers]
            x = [at - 0.42 + (i + 0.5) * width for at in range(len(layers))]
            heights = [row["median_s"] * 1e3 if row else 0.0 for row in rows]
            errors = [[(row["median_s"] - row["q1_s"]) * 1e3 if row else 0.0 for row in rows]]
            errors += [[(row["q3_s"] - row["median_s"]) * 1e3 if row else 0.0 for row in rows]]
            style = {"elinewidth": 0.7, "ecolor": "#444444"}
            ax.bar(
                x,
                heights,
                width * 0.94,
                label=report.label(result, name),
                color=_colour(name),
                yerr=errors,
                error_kw=style,
            )
        ax.set_ylabel("ms")
        ax.yaxis.grid(True, linewidth=0.4)
        ax.set_axisbelow(True)
        ax.tick_params(axis="x", length=0)
    axes[0].legend(frameon=False, ncols=2)
    axes[1].set_xticks(range(len(layers)), layers)
    _caption(figure, result, "AlexNet's layers alone (less is better; thin lines span the quartiles)")
    return figure


def _batches(result: Result) -> "Figure | None":
    """Time for one image against the batch size."""
    batches = report.batches(result)
    if len(batches) < 2:
        return None
    figure = _figure(12, 5.5)
    axes = figure.subplots(1, 2)
    for work, ax in zip(WORKS, axes, strict=True):
        ax.set_title(work.capitalize())
        for name in result["contenders"]:
            rows = [row for row in result["network"] if row["work"] == work and row["contender"] == name]
            if rows:
                x, y = [row["batch"] for row in rows], [row["median_s"] / row["batch"] * 1e3 for row in rows]
                bold = 2.5 if name in ("cpu", "tf32", "bfloat16") else 1.3
                ax.loglog(
                    x,
                    y,
                    marker="o",
                    markersize=4,
                    linewidth=bold,
                    color=_colour(name),
                    label=report.label(result, name),
                )
        ax.set_xticks(batches, [str(N) for N in batches])
        ax.minorticks_off()
        ticks = [
            tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if ax.get_ylim()[0] <= tick <= ax.get_ylim()[1]
        ]
        ax.set_yticks(ticks, [str(tick) for tick in ticks])
        ax.grid(True, linewidth=0.4)
        ax.set_xlabel("images in a batch")
        ax.set_ylabel("ms for each image")
    axes[1].legend(frameon=False, fontsize=8)  # everybody infers
    _caption(figure, result, f"{report.title(result)}: time for one image against the batch size")
    return figure


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _caption(figure: "Figure", result: Result, title: str) -> None:
    """The title above, the machine and the versions below."""
    settings = result["settings"]
    order = "turns, one contender after the other" if "gpu" in result["machine"] else "rounds in turns"
    lines = (
        f"{report.machine_line(result)}; {report.blas_line(result)}",
        f"{report.versions_line(result)}; {settings['rounds']} {order}, medians; {report.revision(result)}",
    )
    columns = int(figure.get_figwidth() * 16)
    text = "\n".join(textwrap.fill(line, columns) for line in lines)
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    figure.supxlabel(text, fontsize=7, x=0.01, ha="left", color="#555555")


def _colour(name: str) -> Any:
    return COLOURS.get(name, "#555555")

"""What changed between two results, and whether it is more than noise.

The machine itself is faster on some days. So the change of a time is given as it is, and then corrected for the
machine: divided by the median change of the peers in the same comparison (where at least two took part in both).

A change counts where the corrected one is larger than the noise: the half-ranges, as fractions, that the two
runs' turns span between their quartiles, added up, and at least 2 %.
"""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from .report import Result, label, ms, table

LEAST_NOISE = 0.02
# Of the machine and the settings: what is measured, or said with each figure
MEASURED = (
    *("sgemm_gflops", "gemm_gflops", "copy_gbs", "gpu_states"),
    *("contenders", "batches", "parts", "tolerances"),
)


def text(old: Result, new: Result) -> str:
    """The differences of the set-up, then a table for every comparison that is in both results."""
    parts = [f"{old['date']} ({old['commit'] or 'unknown'})  ->  {new['date']} ({new['commit'] or 'unknown'})"]
    if differences := list(setup_differences(old, new)):
        parts.append("The runs differ in\n\n" + "\n".join(f"  {line}" for line in differences))
    old_figures, new_figures = _comparisons(old), _comparisons(new)
    for what, figures in new_figures.items():
        rows = [_row(new, change) for change in changes(old_figures.get(what, {}), figures, _peers(new))]
        if rows:
            header = ("", "old ms", "new ms", "change", "corrected", "noise", "verdict")
            parts.append(f"{what}\n\n" + table(header, rows))
    for name, key in (("Peak memory, MiB", "peak_mib"), ("To the first step, s", "total_s")):
        rows = list(_startup_rows(old, new, key))
        if rows:
            parts.append(f"{name} (single figures: without noise)\n\n" + table(("", "old", "new", "change"), rows))
    return "\n\n".join(parts) + "\n"


def setup_differences(old: Result, new: Result) -> Iterator[str]:
    """Everything that makes two runs less comparable."""
    for section in ("machine", "settings"):
        for key in new[section]:
            before, now = old[section].get(key), new[section][key]
            if key not in MEASURED and before != now:
                yield f"{section} {key}: {before} -> {now}"
    for name, row in new["contenders"].items():
        before, now = old["contenders"].get(name, {}).get("version"), row.get("version")
        if before and now and before != now and not row["ours"]:
            yield f"{label(new, name)}: {before} -> {now}"


def changes(old: Mapping[str, Any], new: Mapping[str, Any], peers: set[str]) -> list[dict[str, Any]]:
    """For every contender of both: old, new, ratio, corrected ratio, noise and the verdict."""
    both = [name for name in new if name in old]
    ratios = {name: new[name]["median_s"] / old[name]["median_s"] for name in both}
    machines = [ratios[name] for name in both if name in peers]
    drift = median(machines) if len(machines) >= 2 else 1.0
    rows = []
    for name in both:
        noise = max(LEAST_NOISE, _half_range(old[name]) + _half_range(new[name]))
        corrected = ratios[name] / drift
        verdict = "same" if abs(corrected - 1) <= noise else "faster" if corrected < 1 else "slower"
        rows.append(
            {
                "contender": name,
                "old_s": old[name]["median_s"],
                "new_s": new[name]["median_s"],
                "ratio": ratios[name],
                "corrected": corrected,
                "noise": noise,
                "verdict": verdict,
            }
        )
    return rows


def _half_range(figure: Mapping[str, float]) -> float:
    return (figure["q3_s"] - figure["q1_s"]) / 2 / figure["median_s"]


def _comparisons(result: Result) -> dict[str, dict[str, Any]]:
    """ "training step, batch 16" -> contender -> figures."""
    groups: dict[str, dict[str, Any]] = {}
    for row in result["network"]:
        groups.setdefault(f"{row['work'].capitalize()}, batch {row['batch']}", {})[row["contender"]] = row
    for row in result["layers"]:
        groups.setdefault(f"{row['layer']} {row['direction']}, batch {row['batch']}", {})[row["contender"]] = row
    return groups


def _peers(result: Result) -> set[str]:
    return {name for name, row in result["contenders"].items() if not row["ours"]}


def _row(result: Result, change: Mapping[str, Any]) -> list[str]:
    return [
        label(result, change["contender"]),
        ms(change["old_s"]),
        ms(change["new_s"]),
        f"{change['ratio'] - 1:+.1%}",
        f"{change['corrected'] - 1:+.1%}",
        f"{change['noise']:.1%}",
        change["verdict"],
    ]


def _startup_rows(old: Result, new: Result, key: str) -> Iterator[list[str]]:
    before = {(row["contender"], row["batch"], row["cache"]): row[key] for row in old["startup"]}
    for row in new["startup"]:
        was = before.get((row["contender"], row["batch"], row["cache"]))
        if was:
            cache = "" if row["cache"] == "none" else f", cache {row['cache']}"
            name = f"{label(new, row['contender'])}, batch {row['batch']}{cache}"
            yield [name, f"{was:.4g}", f"{row[key]:.4g}", f"{row[key] / was - 1:+.1%}"]

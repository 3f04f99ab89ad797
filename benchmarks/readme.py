"""The table in README.md, made from a result: never by hand."""

from . import report
from .report import Result

BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"


def replace(readme: str, result: Result) -> str:
    """The README with what stands between the two marks replaced. ValueError where a mark is missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md: expected the marks {BEGIN} and {END}, in this order")
    return f"{before}{BEGIN}\n{markdown(result)}\n{END}{after}"


def markdown(result: Result) -> str:
    """A row for each contender: times with their ratio to the quickest peer, and peak memory at the largest batch."""
    columns = {
        (work, N): {row["contender"]: row for row in report.times(result, work, N)}
        for work in report.WORKS
        for N in reversed(report.batches(result))
    }
    largest = max((row["batch"] for row in result["startup"]), default=0)
    steps = [row for row in result["startup"] if row["batch"] == largest and row["work"] == "training step"]
    memory = {row["contender"]: f"{row['peak_mib']:.0f}" for row in steps}  # of several rows the last: all compiled
    header = ["", *(f"{work}, batch {N}" for work, N in columns), *([f"peak MiB, batch {largest}"] if memory else [])]
    lines = [_line(header), _line(["---"] + ["---:"] * (len(header) - 1))]
    for name, row in result["contenders"].items():
        if any(name in column for column in columns.values()):
            label = f"**{row['label']}**" if row["ours"] else row["label"]
            cells = [_cell(column[name]) if name in column else "" for column in columns.values()]
            lines.append(_line([label, *cells, *([memory.get(name, "")] if memory else [])]))
    settings = f"{result['settings']['rounds']} rounds, {report.revision(result)}"
    machine = f"{report.machine_line(result)}; {report.blas_line(result)}; {report.versions_line(result)}; {settings}."
    return "\n".join([*lines, "", f"ms, and the ratio to the quickest peer. {machine}"])


def _cell(figure: Result) -> str:
    ratio = "" if figure["ratio"] is None else f" ({figure['ratio']:.2f})"
    return f"{report.ms(figure['median_s'])}{ratio}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

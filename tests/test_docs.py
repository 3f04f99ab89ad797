"""What README and docs/ say: their Python runs and prints what they show, their links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pages
def test_python_examples_run(page, tmp_path, monkeypatch, capsys):
    """All of a page's examples in turn, as a reader pastes them. An indented block behind one is what it prints."""
    monkeypatch.chdir(tmp_path)
    examples = re.findall(
        r"^```python\n(.*?)^```\n((?:\n(?:    [^\n]*\n)+)?)", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    namespace = {}
    for number, (example, shown) in enumerate(examples, 1):
        exec(compile(example, f"{page.name}, example {number}", "exec"), namespace)
        printed = plain(capsys.readouterr().out)
        for part in shown.split("    ...\n"):
            assert plain(part) in printed, f"{page.name}, example {number}"


def plain(text):
    """Without line breaks and alignment, and without errors near rounding, which differ from machine to machine."""
    return " ".join(re.sub(r"\b\d\.\de-1\d\b", "~", text).split())


@pages
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text("utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing

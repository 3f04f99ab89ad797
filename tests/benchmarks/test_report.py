"""Tables, comparisons, the README's table and plots of a result."""

import copy
import json

import pytest
from PIL import Image

from benchmarks import compare, plots, readme, report
from benchmarks.__main__ import main


def test_the_tables_say_it_all(result):
    result["load"] = [{"what": "inference, batch 2", "idle_contenders": 0.0, "others": 0.02}]
    text = report.text(result)
    for words in ("sgemm peak 470 GFLOP/s", "alexnet_np 1.10", "Training step, batch 16", "Layers alone, backward"):
        assert words in text
    assert "JAX: not installed (jax)" in text
    assert "PyTorch, inference, batch 2: RuntimeError: out of memory" in text
    assert "CAUTION" not in text
    line = next(line for line in text.splitlines() if line.startswith("  alexnet-np  "))
    assert line.split() == ["alexnet-np", "693", "690-696", "624", "2.9", "12", "3%", "0.50", "0.50-0.50", "1e-03"]


def test_a_busy_machine_is_pointed_out(result):
    result["load"] = [{"what": "inference, batch 2", "idle_contenders": 0.0, "others": 0.5}]
    assert "CAUTION" in report.text(result)


@pytest.mark.parametrize(("seconds", "text"), [(0.00631, "6.31"), (0.0624, "62.4"), (1.241, "1241"), (0.00005, "0.05")])
def test_milliseconds(seconds, text):
    assert report.ms(seconds) == text


def slowed(result, factors):
    """The same result with the times of some contenders multiplied."""
    result = copy.deepcopy(result)
    for row in result["network"] + result["layers"]:
        for key in ("median_s", "q1_s", "q3_s", "best_s"):
            row[key] *= factors.get(row["contender"], 1.0)
    return result


def verdicts(old, new):
    """The verdict on the training step at batch 16."""
    rows = compare.text(old, new).partition("Training step, batch 16")[2].split("\n\n")[1].splitlines()[2:]
    return {row.split("  ")[1]: row.split()[-1] for row in rows}


def test_compare_tells_a_change_from_noise(pretend):
    old = pretend(batches=(16,))
    new = slowed(old, {"cpu": 0.8, "pytorch": 1.01, "reference": 1.2})
    assert verdicts(old, new) == {
        "alexnet-np": "faster",
        "alexnet-np reference": "slower",
        "PyTorch": "same",
        "TensorFlow": "same",
    }
    assert verdicts(old, old) == dict.fromkeys(verdicts(old, new), "same")


def test_compare_allows_for_a_slower_machine(pretend):
    old = pretend(batches=(16,))
    new = slowed(old, {"pytorch": 1.3, "tensorflow": 1.3, "reference": 1.3})
    assert verdicts(old, new)["alexnet-np"] == "faster"
    assert verdicts(old, new)["alexnet-np reference"] == "same"


def test_compare_takes_a_wide_spread_for_noise(pretend):
    old = pretend(batches=(16,))
    for row in old["network"]:
        row["q3_s"] = 1.4 * row["q1_s"]
    assert verdicts(old, slowed(old, {"cpu": 1.1}))["alexnet-np"] == "same"


def test_compare_names_what_makes_runs_differ(result):
    new = copy.deepcopy(result)
    new["machine"]["threads"] = 8
    new["contenders"]["tensorflow"]["version"] = "9"
    text = compare.text(result, new)
    assert "machine threads: 2 -> 8" in text
    assert "TensorFlow: 1.10 -> 9" in text


def test_the_readme_gets_the_table_between_its_marks(result):
    text = readme.replace(f"# Title\n{readme.BEGIN}\nold\n{readme.END}\nrest\n", result)
    assert text.startswith(f"# Title\n{readme.BEGIN}\n| ")
    assert text.endswith(f"{readme.END}\nrest\n")
    assert "old" not in text
    assert "| **alexnet-np** | 693 (0.50) | 693 (0.50) | 673 (0.86) | 673 (0.86) | 1234 |" in text
    assert "| ONNX Runtime |  |  | 785 (1.00) |" in text
    assert readme.replace(text, result) == text


def test_a_readme_without_marks_is_refused(result):
    with pytest.raises(ValueError, match="expected the marks"):
        readme.replace(f"# Title\n{readme.END}\n{readme.BEGIN}", result)


def test_plots(result, tmp_path):
    names = plots.draw(result, tmp_path)
    assert names == ["ratios.png", "layers.png", "batches.png"]
    for name in names:
        picture = Image.open(tmp_path / name).convert("RGB")
        colours = {colour for _, colour in picture.getcolors(maxcolors=2**24)}
        assert tuple(bytes.fromhex(plots.COLOURS["cpu"][1:])) in colours
        assert tuple(bytes.fromhex(plots.COLOURS["tensorflow"][1:])) in colours


def test_plots_of_a_run_with_one_batch_size_and_no_layers(pretend, tmp_path):
    assert plots.draw(pretend(batches=(16,), parts=("network",)), tmp_path) == ["ratios.png"]


def test_no_plots_without_peers(pretend, tmp_path):
    assert plots.draw(pretend("cpu,reference", batches=(16,), parts=("network",)), tmp_path) == []


def test_the_report_command_writes_beside_the_result(result, tmp_path, capsys):
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert main(["report", str(tmp_path / "result.json")]) == 0
    assert (tmp_path / "report.txt").read_text() in capsys.readouterr().out
    assert (tmp_path / "ratios.png").is_file()


def test_more_threads_than_cores_are_refused(tmp_path, capsys):
    assert main(["--threads", "100000", "--output", str(tmp_path)]) == 2
    assert "--threads: expected at most" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[1]", "{}"])
def test_a_file_that_is_no_result(tmp_path, content, capsys):
    (tmp_path / "old.json").write_text(content)
    assert main(["compare", str(tmp_path / "old.json"), str(tmp_path / "old.json")]) == 2
    assert "is not a result of this benchmark" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--contenders", "theano"], ["--batch", "0"], ["--rounds", "0"], ["--threads", "-1"]]
)
def test_arguments_that_make_no_sense(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "expected" in capsys.readouterr().err

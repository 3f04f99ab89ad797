"""The benchmark on a GPU, with contenders that only pretend, and on GPUs that are pretended."""

import json
import sys

import numpy as np
import pytest
import torch as pytorch
from PIL import Image
from pretended_gpu import gpu_book_problem, pretend_with_gpu_book
from pretender import SECONDS

from alexnet_np import backend
from benchmarks import __main__ as command_line, correctness, gpu, plots, problem, report, worker
from benchmarks.contenders import alexnet_np, torch

TIMES = {
    "float32": 8.0,
    "torch-float32": 10.0,
    "tf32": 3.0,
    "tf32-eager": 6.0,
    "torch-tf32": 4.0,
    "compile-tf32": 2.0,
    "bfloat16": 1.0,
    "torch-bfloat16": 2.0,
}
GPU_RUN = gpu.GpuRun
CEILINGS = {
    "gpu": "Pretender 9000, 80 GiB",
    "gemm_gflops": {"float32": 5e4, "tf32": 4e5, "bfloat16": 8e5},
    "copy_gbs": 3300.0,
}


@pytest.fixture
def pretend_gpu(pretend, monkeypatch):
    for name, milliseconds in TIMES.items():
        monkeypatch.setitem(SECONDS, name, milliseconds / 1e3)
    memory = {"rss_mib": 700.0, "peak_mib": 1234.0, "device_mib": 2222.0}

    def run(faults=None, **settings):
        answers = {("ceilings", "ceilings"): CEILINGS} | {(name, "memory"): memory for name in TIMES}
        return pretend(",".join(TIMES), answers | (faults or {}), kind=GPU_RUN, **{"batches": (1, 128), **settings})

    return run


def test_a_ratio_is_to_the_quickest_peer_of_the_same_precision(pretend_gpu):
    rows = pretend_gpu(batches=(128,), parts=("network",))["network"]
    ratios = {row["contender"]: row["ratio"] for row in rows if row["work"] == "training step"}
    expected = {
        "float32": 0.8,
        "torch-float32": 1,
        "tf32": 1.5,
        "tf32-eager": 3,
        "torch-tf32": 2,
        "compile-tf32": 1,
        "bfloat16": 0.5,
        "torch-bfloat16": 1,
    }
    assert ratios == pytest.approx(expected, rel=0.02)


def test_each_precision_is_held_to_its_own_tolerance(pretend_gpu):
    errors = {"logits": 1e-3, "loss": 5e-5, "gradient features.0.weight": 0.05}
    faults = {(name, "check"): errors for name in TIMES}
    result = pretend_gpu(faults=faults, batches=(128,), parts=("network",))
    assert {row["contender"] for row in result["network"]} == {name for name in TIMES if "float32" not in name}
    reasons = {row["contender"]: row["reason"] for row in result["excluded"]}
    assert reasons == dict.fromkeys(("float32", "torch-float32"), "logits: relative error 1.0e-03, tolerance 1e-04")


def test_tolerances_widen_with_the_rounding():
    for kind, exact in correctness.TOLERANCES.items():
        tf32, bfloat16 = (correctness.SLACK[precision][kind] for precision in ("tf32", "bfloat16"))
        assert exact < tf32 <= bfloat16 < 1


def test_the_report_says_it_all(pretend_gpu):
    result = json.loads(json.dumps(pretend_gpu()))
    text = report.text(result)
    for words in (
        "AlexNet, 224x224x3, 1000 classes",
        "Pretender 9000, 80 GiB; a large product: float32 50, tf32 400, bfloat16 800 TFLOP/s; a large copy: 3300 GB/s",
        "alexnet-np TF32, eager",
        "GPU MiB",
        "quickest peer of the same precision",
        "alexnet-np bfloat16, layers alone: rates, and their shares of a large product and a large copy",
    ):
        assert words in text
    line = next(line for line in text.partition("Training step, batch 128")[2].splitlines() if "np bfloat16" in line)
    # 128 images of 4.14 GFLOP in 1.16 ms are 459 TFLOP/s: 57 % of a large product in bfloat16.
    assert line.split()[2:] == ["1.16", "1.15-1.16", "1.04", "110822.5", "459312", "57%", "0.50", "0.50-0.50", "1e-03"]
    assert all("2222" in row for row in text.partition("A fresh process, batch 128")[2].splitlines() if "np " in row)


def test_rates_are_of_what_has_to_be_moved(pretend_gpu):
    """pool1 at batch 128: 128 x (55 x 55 + 27 x 27) x 64 numbers of 2 bytes forward, in the 1 ms that is pretended."""
    text = report.text(pretend_gpu(parts=("layers",)))
    row = next(
        line.split()
        for line in text.partition("np bfloat16, layers alone")[2].splitlines()
        if line.split()[:1] == ["pool1"]
    )
    gbs = 128 * (55 * 55 + 27 * 27) * 64 * 2 / 1e-3 / 1e9
    assert row[1:5] == ["-", "-", f"{gbs:.0f}", f"{gbs / 3300:.0%}"]


def test_without_ceilings_there_are_times_all_the_same(pretend_gpu):
    fault = worker.ContenderError("RuntimeError: out of memory")
    text = report.text(pretend_gpu(faults={("ceilings", "ceilings"): fault}))
    assert "ceilings not measured" in text
    assert "alexnet-np TF32" in text


def test_plots(pretend_gpu, tmp_path):
    names = plots.draw(pretend_gpu(), tmp_path)
    assert names == ["ratios.png", "layers.png", "batches.png"]
    for name in names:
        picture = Image.open(tmp_path / name).convert("RGB")
        colours = {colour for _, colour in picture.getcolors(maxcolors=2**24)}
        assert tuple(bytes.fromhex(plots.COLOURS["bfloat16"][1:])) in colours
        assert tuple(bytes.fromhex(plots.COLOURS["torch-bfloat16"][1:])) in colours


def test_everybody_has_a_colour():
    assert all(entry.name in plots.COLOURS for entry in gpu.GpuRun.field)


def test_the_readme_keeps_the_table_of_a_cpu(pretend, pretend_gpu, tmp_path, monkeypatch):
    for name, result in (("old-cpu", pretend("cpu,pytorch")), ("new-gpu", pretend_gpu())):
        (tmp_path / name).mkdir()
        result["date"] = {"old-cpu": "2026-01-01", "new-gpu": "2026-02-02"}[name]
        (tmp_path / name / "result.json").write_text(json.dumps(result))
    (tmp_path / "README.md").write_text("<!-- benchmark:begin -->\n<!-- benchmark:end -->\n")
    monkeypatch.setattr(command_line, "ROOT", tmp_path)
    monkeypatch.setattr(command_line, "RESULTS", tmp_path)
    assert command_line.main(["readme"]) == 0
    assert "2026-01-01" in (tmp_path / "README.md").read_text()


# ---- the command


def test_without_a_gpu_the_command_says_so_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(backend, "gpu_problem", lambda: "device gpu: there is none")
    assert command_line.main(["gpu"]) == 2
    assert capsys.readouterr().err == "benchmarks: device gpu: there is none\n"


def test_the_command_runs_everybody_and_writes_the_result(monkeypatch, tmp_path, pretend, pretend_gpu, capsys):
    monkeypatch.setattr(backend, "gpu_problem", lambda: None)
    asked = []

    class Asked(gpu.GpuRun):
        def __call__(self):
            asked.append(self.settings)
            return pretend_gpu(parts=("network",))

    monkeypatch.setattr(gpu, "GpuRun", Asked)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    assert command_line.main(["gpu", "--output", str(tmp_path), "--rounds", "2"]) == 0
    assert asked[0].batches == (1, 128, 512, 1024)
    assert asked[0].contenders == tuple(entry.name for entry in gpu.GpuRun.field)
    assert "no plots, as matplotlib cannot be imported" in capsys.readouterr().out
    assert (tmp_path / "report.txt").is_file()
    assert command_line.main(["gpu", "--quick", "--output", str(tmp_path)]) == 0
    assert asked[1].batches == (128,)
    assert not any(name.startswith("compile") for name in asked[1].contenders)


# ---- turns


def test_a_burst_waits_once_for_many_calls():
    log = []
    times = worker._bursts(lambda: log.append("call"), lambda: log.append("finish"), 0.0)
    text = " ".join(log)
    assert len(times) == 1
    assert text.startswith("call finish call finish call call")
    assert text.endswith("finish")
    assert times[0] > 0


def test_a_backward_alone_is_the_pair_less_the_forward(monkeypatch):
    class Task:
        def __init__(self):
            self.log = []

        def forward(self):
            self.log.append("forward")

        def backward(self):
            assert self.log.pop() == "forward"  # each has one before it

        def finish(self):
            pass

    def bursts(action, finish, seconds):
        action()
        return next(times)

    times = iter([[2.0, 3.0], [7.0, 2.0]])
    session = worker.Session(gpu.GpuRun.field[0], 1)
    session.task = Task()
    monkeypatch.setattr(worker, "_bursts", bursts)
    figures = session.run_layer(0.1)
    assert figures == {"forward": [2.0, 3.0], "backward": [4.5, 0.0]}  # 7 - 2.5, and never less than nothing


# ---- contenders


LAYERS = [
    problem.Layer("conv1", "conv", "", (13, 10, 3), (6, 4, 8), (5, 5, 3, 8), stride=2, padding=1),
    problem.Layer("conv", "conv", "", (7, 9, 4), (7, 9, 6), (3, 3, 4, 6), padding=1),
    problem.Layer("pool", "pool", "", (8, 11, 4), (3, 5, 4), stride=2),
    problem.Layer("fc", "linear", "", (12,), (7,), (12, 7)),
]


def errors_of(task, layer, data, folder):
    exact = alexnet_np.LayerTask(layer, data, device="reference", dtype="float64")
    correctness.write(folder, correctness.layer(exact))
    return correctness.errors(folder, correctness.layer(task))


@pytest.mark.parametrize("precision", gpu.PRECISIONS)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_layers_of_this_project_pass_the_gate(layer, precision, tmp_path, monkeypatch):
    if sentence := gpu_book_problem():
        pytest.skip(sentence)
    pretend_with_gpu_book(monkeypatch)
    data = problem.layer_data(layer, 3, rounded=True)
    task = alexnet_np.LayerTask(layer, data, device="gpu", precision=precision, graph=True)
    errors = errors_of(task, layer, data, tmp_path)
    assert correctness.objection(errors, precision) is None
    task.finish()
    task.rest()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_layers_of_torch_pass_the_gate(layer, precision, tmp_path):
    data = problem.layer_data(layer, 3, rounded=True)
    task = torch.LayerTask(layer, data, layout="channels_last", device="cpu", precision=precision)
    errors = errors_of(task, layer, data, tmp_path)
    assert correctness.objection(errors, precision) is None
    if precision == "bfloat16":
        assert max(errors.values()) > 1e-4 or layer.kind == "pool"  # it is what it says


def test_rounded_data_can_be_held_by_bfloat16():
    data = problem.layer_data(LAYERS[1], 2, rounded=True)
    for name, array in data.items():
        tensor = pytorch.from_numpy(array)
        assert pytorch.equal(tensor, tensor.bfloat16().float()), name
        assert np.abs(array).max() > 0.01


def test_ceilings_of_a_cpu():
    found = torch.ceilings("cpu", size=64, mib=1, seconds=0.0)
    assert found["gemm_gflops"].keys() == gpu.PRECISIONS.keys()
    assert min(*found["gemm_gflops"].values(), found["copy_gbs"]) > 0

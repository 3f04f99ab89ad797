"""The benchmark on a GPU, with contenders that only pretend, and on GPUs that are pretended."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch as pytorch
from PIL import Image
from pretended_gpu import gpu_book_problem, pretend_with_gpu_book
from pretender import SECONDS, Pretender

from alexnet_np import backend
from benchmarks import __main__ as command_line, correctness, gpu, machine, measure, plots, problem, report, worker
from benchmarks.contenders import alexnet_np, torch

TIMES = {
    "tf32": 3.0,
    "tf32-eager": 6.0,
    "torch-tf32": 4.0,
    "compile-tf32": 2.0,
    "bfloat16": 1.0,
    "torch-bfloat16": 2.0,
    "float32": 8.0,
    "torch-float32": 10.0,
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

    def run(faults=None, names=TIMES, **settings):
        answers = {("ceilings", "ceilings"): CEILINGS} | (faults or {})
        defaults = {"batches": (1, 128), "parts": GPU_RUN.parts, "minutes": 5.0}
        return pretend(",".join(names), answers, kind=GPU_RUN, **{**defaults, **settings})

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
    errors = {"logits": 5e-3, "loss": 5e-5, "gradient features.0.weight": 0.15}
    faults = {(name, "check"): errors for name in TIMES}
    result = pretend_gpu(faults=faults, batches=(128,), parts=("network",))
    assert {row["contender"] for row in result["network"]} == {name for name in TIMES if "float32" not in name}
    reasons = {row["contender"]: row["reason"] for row in result["excluded"]}
    assert reasons == dict.fromkeys(("float32", "torch-float32"), "logits: relative error 5.0e-03, tolerance 1e-04")


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
        "to the quickest peer of the same",
        "PyTorch TF32, measured again behind the others: +0.0% to +0.0%.",
        "After the training steps the GPU was at 1980-1980 MHz, 50-50 degrees, 300-300 W.",
        "alexnet-np bfloat16, layers alone: rates, and their shares of a large product and a large copy",
    ):
        assert words in text
    line = next(line for line in text.partition("Training step, batch 128")[2].splitlines() if "np bfloat16" in line)
    # 128 images of 4.14 GFLOP in 1.22 ms are 434 TFLOP/s: 54 % of a large product in bfloat16.
    assert line.split()[2:] == ["1.22", "1.22-1.23", "1.10", "104832.1", "434485", "54%", "0.50", "0.49-0.51", "1e-03"]
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


# ---- one at a time


def test_one_contender_at_a_time_has_the_gpu(pretend_gpu, monkeypatch):
    together = []
    call = Pretender.call
    monkeypatch.setattr(Pretender, "call", lambda self, *a: (together.append(len(Pretender.alive)), call(self, *a))[1])
    pretend_gpu()
    assert set(together) == {1}


def test_the_first_peer_of_a_precision_is_measured_first_and_last(pretend_gpu):
    pretend_gpu(parts=("network",), batches=(128,))
    visits = [name for name, method, *_ in Pretender.log if method == "works"]
    timed = [name for i, name in enumerate(visits) if visits[i - 1 : i] != [name]]
    tf32 = ["torch-tf32", "tf32", "tf32-eager", "compile-tf32", "torch-tf32"]
    assert timed == [*tf32, "torch-bfloat16", "bfloat16", "torch-bfloat16", "torch-float32", "float32", "torch-float32"]


def test_everybody_is_checked_before_it_is_timed(pretend_gpu):
    pretend_gpu(batches=(1, 128, 48))
    for name in ("tf32", "torch-tf32"):
        log = [(method, *arguments) for who, method, *arguments in Pretender.log if who == name]
        first = log.index(("check", next(a for m, *a in log if m == "check")[0]))
        assert first < next(i for i, (method, *_) in enumerate(log) if method == "run")
        assert ("build", "128", "16") in log  # of 16 images that come again and again
        assert ("build", "1", "1") in log


def test_a_gpu_that_changed_meanwhile_shows(pretend_gpu, monkeypatch):
    start, starts = Pretender.__init__, []

    def slower_the_second_time(self, entry, *arguments, **variables):
        start(self, entry, *arguments, **variables)
        starts.append(entry.name)
        if starts.count("torch-tf32") == 2:
            monkeypatch.setitem(SECONDS, "torch-tf32", 1.1 * TIMES["torch-tf32"] / 1e3)

    monkeypatch.setattr(Pretender, "__init__", slower_the_second_time)
    result = pretend_gpu(names=("tf32", "torch-tf32"), parts=("network",), batches=(128,))
    assert [(row["contender"], row["change"]) for row in result["again"]] == [
        ("torch-tf32", pytest.approx(0.1)),
        ("torch-tf32", pytest.approx(0.1)),
    ]


def test_who_fails_loses_its_own_figures_and_all_others_are_kept(pretend_gpu):
    saved = []
    death = worker.ContenderError("its process ended with exit code -9")
    result = pretend_gpu({("tf32", "run"): death, ("compile-tf32", "build"): death}, save=saved.append)
    assert {row["contender"] for row in result["network"]} == TIMES.keys() - {"tf32", "compile-tf32"}
    assert {row["contender"] for row in result["excluded"]} == {"tf32", "compile-tf32"}
    assert {row["contender"] for row in result["startup"]} == TIMES.keys() - {"compile-tf32"}
    assert len(saved) > len(TIMES)
    assert "exit code -9" in report.text(result)


def test_a_run_ends_in_time_and_says_what_is_missing(pretend_gpu, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(gpu, "perf_counter", lambda: now[0])
    build = Pretender.build
    monkeypatch.setattr(Pretender, "build", lambda self, *a: (now.__setitem__(0, now[0] + 60), build(self, *a))[1])
    result = pretend_gpu(minutes=5.5, batches=(128,))
    # One build of what is expected, two of each contender.
    assert {row["contender"] for row in result["network"]} == {"torch-tf32", "tf32"}
    left_out = {row["contender"]: row["reason"] for row in result["excluded"]}
    assert left_out.keys() == TIMES.keys()  # no layers of anybody
    assert set(left_out.values()) == {"the time was over (--minutes 5.5)"}
    text = report.text(result)
    assert "alexnet-np bfloat16, network: the time was over" in text
    assert "PyTorch TF32, layers: the time was over" in text


def test_what_has_begun_when_the_time_is_over_has_a_minute(pretend_gpu, monkeypatch):
    monkeypatch.setattr(gpu, "perf_counter", lambda: 7.0)
    pretend_gpu(minutes=5.5, batches=(128,), names=("tf32", "torch-tf32"))
    assert set(Pretender.deadlines) == {7 + 5.5 * 60 + 60}


def test_without_expected_results_nobody_is_timed_and_the_run_goes_on(pretend_gpu):
    fault = worker.ContenderError("no answer in 60 s")
    result = pretend_gpu({("definition", "expect"): fault}, names=("tf32", "torch-tf32"))
    assert not result["network"]
    assert {row["contender"] for row in result["layers"]} == {"tf32", "torch-tf32"}
    assert "PyTorch TF32, network: what is expected is not known: no answer in 60 s" in report.text(result)


def test_memory_is_left_out_where_nvidia_smi_fails_once(pretend_gpu, monkeypatch):
    asked = []

    def fails_first():
        asked.append(Pretender.gpu_state())
        return asked[-1] if len(asked) > 1 else {}

    monkeypatch.setattr(machine, "gpu_state", fails_first)
    result = pretend_gpu(names=("tf32", "torch-tf32"), parts=("network",))
    measured = {row["contender"] for row in result["startup"] if "device_mib" in row}
    assert (measured, len(result["startup"])) == ({"tf32"}, 2)


def test_layers_get_rounded_numbers_in_bfloat16_alone(pretend_gpu):
    pretend_gpu(parts=("layers",))
    rounded = {
        (name, rounded) for name, method, *rest in Pretender.log if method == "build_layer" for rounded in rest[2:]
    }
    others = {(name, "False") for name in ("tf32", "torch-tf32", "float32", "torch-float32")}
    own = {("bfloat16", "True"), ("torch-bfloat16", "True")}
    assert rounded == {("definition", "False"), ("definition", "True"), *own, *others}
    folders = {name: Path(rest[0]).parent for name, method, *rest in Pretender.log if method == "check_layer"}
    assert folders["bfloat16"] != folders["float32"] == folders["tf32"]


def test_nothing_at_all_is_a_result_too(pretend_gpu, tmp_path):
    result = pretend_gpu(minutes=-1.0)
    assert "Not timed" in report.text(result)
    assert plots.draw(result, tmp_path) == []


def test_ratios_of_contenders_that_took_no_turns():
    calls = {"a": [[2.0, 9.0, 2.0], [4.0], [3.0]], "b": [[1.0], [1.5], [2.0]], "ours": [[3.0], [3.0]]}
    figures = measure.one_after_another(calls, ["a", "b"])
    found = {name: (f["ratio"], f["ratio_low"], f["ratio_high"]) for name, f in figures.items()}
    assert found == {"a": (2.0, 1.0, 4.0), "b": (1.0, 1.0, 1.0), "ours": (2.0, 1.5, 3.0)}
    assert measure.one_after_another({"ours": [[3.0]]}, ["a"])["ours"]["ratio"] is None


def test_what_nvidia_smi_says(monkeypatch, tmp_path):
    monkeypatch.undo()
    script = tmp_path / "nvidia-smi"
    script.write_text('#!/bin/sh\necho "$@" > "$0.asked"\necho "1234, 1980, 1980, 45, [N/A]"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert machine.gpu_state() == {"memory_mib": 1234.0, "sm_mhz": 1980.0, "sm_most_mhz": 1980.0, "celsius": 45.0}
    assert "--query-gpu=memory.used,clocks.sm" in (tmp_path / "nvidia-smi.asked").read_text()
    script.write_text("#!/bin/sh\nexit 9\n")
    assert machine.gpu_state() == {}
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert machine.gpu_state() == {}


def test_images_that_come_again_have_the_expected_results_of_the_distinct_ones(tmp_path):
    images, labels = problem.batch(6, 2)
    few, few_labels = problem.batch(2)
    np.testing.assert_array_equal(images, np.concatenate([few] * 3))
    np.testing.assert_array_equal(labels, np.concatenate([few_labels] * 3))
    with pytest.raises(ValueError, match="distinct: expected a divisor of 6, got 4"):
        problem.batch(6, 4)
    logits = np.random.default_rng(0).standard_normal((2, 5))
    correctness.write(tmp_path, iter([("logits", logits), ("loss", np.array(3.0))]))
    good = np.concatenate([logits] * 3)
    swapped = good[[0, 1, 2, 3, 5, 4]]
    wrong_size = good[:3]
    for found, least, most in ((good, 0.0, 0.0), (swapped, 0.3, 2.0), (wrong_size, np.inf, np.inf)):
        errors = correctness.errors(tmp_path, iter([("logits", found), ("loss", np.array(3.0))]))
        assert errors["loss"] == 0
        assert least <= errors["logits"] <= most


def test_a_network_goes_before_the_next_one_comes(monkeypatch):
    log = []

    class Contender:
        def __init__(self, weights, **options):
            log.append("made")

        def load(self, x, y):
            self.itself = self  # a cycle, as closures are

        def __del__(self):
            log.append("gone")

    monkeypatch.setattr(problem, "weights", dict)
    monkeypatch.setattr(problem, "batch", lambda *_: (None, None))
    session = worker.Session(gpu.GpuRun.field[0], 1)
    session.module = SimpleNamespace(Contender=Contender, rest=lambda: log.append("rest"))
    session.build(1)
    session.build(2, 1)
    assert log == ["rest", "made", "gone", "rest", "made"]


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
    assert command_line.main(["gpu", "--output", str(tmp_path), "--rounds", "3"]) == 0
    assert asked[0].batches == (1, 128, 1024)
    assert asked[0].parts == ("network",)
    assert (asked[0].rounds, asked[0].minutes) == (3, 8.5)
    eager = [f"{start}{p}{end}" for p in gpu.PRECISIONS for start, end in (("torch-", ""), ("", ""), ("", "-eager"))]
    assert asked[0].contenders == tuple(eager)  # none that compile for minutes
    assert "no plots, as matplotlib cannot be imported" in capsys.readouterr().out
    assert (tmp_path / "report.txt").is_file()
    assert command_line.main(["gpu", "--quick", "--output", str(tmp_path)]) == 0
    assert (asked[1].batches, asked[1].parts) == ((128,), ("network",))
    command = ["gpu", "--precision", "tf32", "--minutes", "20", "--parts", "layers", "--output", str(tmp_path)]
    assert command_line.main(command) == 0
    everybody = ("torch-tf32", "tf32", "tf32-eager", "compile-tf32", "inductor-tf32", "jax-tf32")
    assert asked[2].contenders == everybody
    assert (asked[2].parts, asked[2].minutes) == (("layers",), 20.0)


# ---- turns


def test_a_burst_waits_once_for_many_calls():
    log = []
    times = worker._bursts(lambda: log.append("call"), lambda: log.append("finish"), 0.0)
    text = " ".join(log)
    assert len(times) == 1
    assert text.startswith("call finish call call")
    assert text.endswith("finish")
    assert times[0] > 0


def test_slow_first_calls_decide_nothing(monkeypatch):
    """They compile, then record. Then a call takes 1 ms."""
    now, bursts = [0.0], []
    durations = iter([9.0, 2.0])

    def call():
        now[0] += next(durations, 0.001)
        bursts[-1] += 1

    monkeypatch.setattr(worker, "perf_counter", lambda: (bursts.append(0), now[0])[1])
    times = worker._bursts(call, lambda: None, 0.09)
    assert [calls for calls in bursts if calls] == [1, 1, 1, 50, 50, 50]
    assert times == pytest.approx([0.001, 0.001])


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
    data = problem.layer_data(layer, 3, rounded=precision == "bfloat16")
    task = alexnet_np.LayerTask(layer, data, device="gpu", precision=precision, graph=True)
    errors = errors_of(task, layer, data, tmp_path)
    assert correctness.objection(errors, precision) is None
    if precision == "tf32" and layer.kind != "pool":
        assert correctness.objection(errors, "float32")  # which would see that it is none
    task.finish()
    alexnet_np.rest()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_layers_of_torch_pass_the_gate(layer, precision, tmp_path):
    data = problem.layer_data(layer, 3, rounded=precision == "bfloat16")
    task = torch.LayerTask(layer, data, layout="channels_last", device="cpu", precision=precision)
    errors = errors_of(task, layer, data, tmp_path)
    assert correctness.objection(errors, precision) is None
    if precision == "bfloat16":
        assert max(errors.values()) > 1e-4 or layer.kind == "pool"  # it is what it says


def test_what_layers_get_in_bfloat16_is_what_networks_hand_them(monkeypatch):
    """Images, weights and their gradients are float32; what a product of this project gives without a ReLU is too."""
    handed = {}
    for layer in LAYERS:
        data = problem.layer_data(layer, 2, rounded=True)
        tasks = {"torch": torch.LayerTask(layer, data, layout="channels_last", device="cpu", precision="bfloat16")}
        if not gpu_book_problem():
            pretend_with_gpu_book(monkeypatch)
            tasks["ours"] = alexnet_np.LayerTask(layer, data, device="gpu", precision="bfloat16")
        for name, task in tasks.items():
            task.forward()
            task.backward()
            handed[name, layer.name] = [str(a.dtype).removeprefix("torch.") for a in (task.x, task.y, task.dy)]
        if layer.w:
            parameters = list(tasks["torch"].module.parameters())
            assert {a.dtype for a in (*parameters, *tasks["torch"].grads[-2:])} == {pytorch.float32}
    narrow, wide = "bfloat16", "float32"
    for layer in LAYERS:
        x = wide if layer.first else narrow
        assert handed["torch", layer.name] == [x, narrow, narrow]
        y = narrow if layer.kind == "pool" else wide
        assert handed.get(("ours", layer.name), [x, y, y]) == [x, y, y]


def test_pytorch_goes_through_its_modules_only_where_the_mode_changes(monkeypatch):
    contender = object.__new__(torch.Contender)  # with another network than AlexNet, which is large
    torch.Device.__init__(contender)
    contender.net = contender.call = pytorch.nn.Sequential(pytorch.nn.Linear(3, 2), pytorch.nn.Dropout(0.5))
    contender.x, contender.y = pytorch.ones(4, 3), pytorch.zeros(4, dtype=pytorch.int64)
    contender.loss, contender.sgd = pytorch.nn.CrossEntropyLoss(), pytorch.optim.SGD(contender.net.parameters(), 0.1)
    modes, train = [], contender.net.train
    monkeypatch.setattr(contender.net, "train", lambda mode=True: (modes.append(mode), train(mode))[1])
    for call in (contender.step, contender.infer, contender.infer, contender.step, contender.step):
        call()
        assert contender.net[1].training == (call == contender.step)
    assert modes == [False, True]


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

"""The order of things in a run: check, then turns; whoever fails is named."""

import json

import numpy as np
import pytest
from pretender import Pretender

from alexnet_np import models
from benchmarks import problem
from benchmarks.worker import ContenderError


def test_contenders_take_turns(pretend):
    pretend("cpu,pytorch,tensorflow", batches=(2,), parts=("network",))
    turns = [name for name, method, *arguments in Pretender.log if method == "run" and arguments[0] == "inference"]
    assert turns == ["cpu", "pytorch", "tensorflow"] * 3


def test_everybody_is_checked_before_anybody_is_timed(pretend):
    pretend("cpu,pytorch", batches=(2,))
    for check, timed in (("check", "run"), ("check_layer", "run_layer")):
        methods = [method for _, method, *_ in Pretender.log]
        assert methods.index(timed) > [i for i, method in enumerate(methods) if method == check][1]


@pytest.mark.parametrize(
    "errors",
    [
        {"logits": 1e-6, "gradient features.0.weight": 0.05},
        {"logits": 1e-6, "gradient classifier.6.weight": 5e-3},
        {"logits": float("inf")},
        {"logits": float("nan")},
    ],
)
def test_a_wrong_contender_is_not_timed(pretend, errors):
    result = pretend(faults={("pytorch", "check"): errors}, parts=("network",))
    assert "pytorch" not in {row["contender"] for row in result["network"]}
    name = list(errors)[-1]
    assert [(row["contender"], row["what"]) for row in result["excluded"]] == [
        ("pytorch", "batch 2"),
        ("pytorch", "batch 16"),
    ]
    assert all(row["reason"].startswith(f"{name}: relative error") for row in result["excluded"])


def test_a_layer_that_is_wrong_is_not_timed(pretend):
    result = pretend(faults={("cpu", "check_layer"): {"layer dx": 1e-3}}, parts=("layers",))
    assert {row["contender"] for row in result["layers"]} == {"pytorch", "tensorflow"}
    assert {row["what"] for row in result["excluded"]} == {layer.name for layer in problem.LAYERS}


def test_who_fails_in_a_turn_loses_its_figures_and_the_others_go_on(result):
    assert {row["contender"] for row in result["network"]} == {"cpu", "reference", "tensorflow", "onnxruntime"}
    assert {"contender": "pytorch", "what": "inference, batch 2", "reason": "RuntimeError: out of memory"} in result[
        "excluded"
    ]


def test_who_cannot_be_built_is_left_out_everywhere(pretend):
    result = pretend(faults={("cpu", "build"): ContenderError("TypeError: no algorithm")})
    assert "cpu" not in {row["contender"] for part in ("network", "startup") for row in result[part]}
    assert {row["reason"] for row in result["excluded"]} == {"TypeError: no algorithm"}


def test_ratios_are_to_the_quickest_peer(result):
    """Not to this project, whose reference mode is no peer either; ONNX Runtime only infers."""
    ratios = {(row["work"], row["contender"]): row["ratio"] for row in result["network"] if row["batch"] == 2}
    assert ratios["inference", "cpu"] == pytest.approx(0.6 / 0.7)
    assert ratios["training step", "cpu"] == pytest.approx(0.6 / 1.2)
    assert ("training step", "onnxruntime") not in ratios


def test_what_is_compiled_is_kept_for_the_second_process_only(pretend, monkeypatch):
    folders = []
    start = Pretender.__init__
    monkeypatch.setattr(
        Pretender, "__init__", lambda self, *a, **k: (folders.append(k.get("NUMBA_CACHE_DIR")), start(self, *a, **k))[1]
    )
    result = pretend("cpu", batches=(2, 16), parts=("startup",))
    assert [(row["batch"], row["cache"]) for row in result["startup"]] == [
        (2, "empty"),
        (2, "filled"),
        (16, "empty"),
        (16, "filled"),
    ]
    _sgemm, *folders = folders
    assert folders[0] == folders[1] != folders[2] == folders[3]


def test_a_result_is_json_and_saved_after_every_part(pretend):
    saved = []
    result = pretend(save=lambda result: saved.append(json.dumps(result)))
    assert json.loads(saved[-1]) == json.loads(json.dumps(result))
    assert [len(json.loads(text)["startup"]) for text in saved] == [0, 0, 0, 6, 12]
    assert len(json.loads(saved[0])["network"]) * 2 == len(json.loads(saved[1])["network"])


def test_the_work_is_the_projects_network():
    net = models.alexnet(init="zeros")
    weights = problem.weights()
    assert {p.name: p.data.shape for p in net.parameters()} == {name: array.shape for name, array in weights.items()}
    assert net.macs((1, 224, 224, 3)) == sum(layer.macs for layer in problem.LAYERS)
    shape = (1, *problem.LAYERS[0].x)
    for layer in problem.LAYERS:
        assert np.prod(shape[1:]) == np.prod(layer.x)
        shape = (1, *layer.y)
    assert problem.flops("training step", 128) == pytest.approx(530e9, rel=0.01)


def test_channels_first_is_torchs_layout_and_back():
    net = models.alexnet(init="zeros")
    weights = problem.weights()
    net.load_state_dict(weights)
    converted = problem.to_channels_first(weights)
    back = problem.from_channels_first(converted)
    for name, array in net.torch_state_dict().items():
        assert converted[name].shape == array.shape
        some = tuple(
            slice(None, None, size // 64 + 1) for size in array.shape
        )  # comparing all 61 million takes seconds
        np.testing.assert_array_equal(converted[name][some], array[some])
        some = tuple(slice(None, None, size // 64 + 1) for size in weights[name].shape)
        np.testing.assert_array_equal(back[name][some], weights[name][some])

"""Single layers, as this project and PyTorch offer them to be timed: the same results, in problem.py's layout."""

import numpy as np
import pytest

from benchmarks import correctness, problem
from benchmarks.contenders import alexnet_np, torch

LAYERS = [
    problem.Layer("conv1", "conv", "", (13, 10, 3), (6, 4, 8), (5, 5, 3, 8), stride=2, padding=1),
    problem.Layer("conv", "conv", "", (7, 9, 4), (7, 9, 6), (3, 3, 4, 6), padding=1),
    problem.Layer("pool", "pool", "", (8, 11, 4), (3, 5, 4), stride=2),
    problem.Layer("fc", "linear", "", (12,), (7,), (12, 7)),
]
OPTIONS = [
    (alexnet_np, {"device": "cpu"}),
    (alexnet_np, {"device": "cpu", "algorithm": "im2col"}),
    (torch, {}),
    (torch, {"layout": "channels_last"}),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
@pytest.mark.parametrize(("module", "options"), OPTIONS)
def test_layer_tasks_agree(layer, module, options, tmp_path):
    data = problem.layer_data(layer, 3)
    correctness.write(
        tmp_path, correctness.layer(alexnet_np.LayerTask(layer, data, device="reference", dtype="float64"))
    )
    errors = correctness.errors(tmp_path, correctness.layer(module.LayerTask(layer, data, **options)))
    wanted = (
        {"layer y"} | ({"layer dx"} if not layer.first else set()) | ({"layer dw", "layer db"} if layer.w else set())
    )
    assert set(errors) == wanted
    assert correctness.objection(errors) is None


def test_the_first_layers_input_gets_no_gradient():
    data = problem.layer_data(LAYERS[0], 1)
    for module, options in OPTIONS:
        task = module.LayerTask(LAYERS[0], data, **options)
        task.forward()
        task.backward()
        assert set(task.results()) == {"y", "dw", "db"}
        np.testing.assert_equal(task.results()["dw"].shape, LAYERS[0].w)

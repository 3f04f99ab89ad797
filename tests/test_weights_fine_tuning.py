"""Fine-tuning from the command line: the last layer new, the rest loaded, features frozen or not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import small_network
from safetensors.numpy import load_file, save_file
from small_training import assert_same, new_trainer, train, weights_of

from alexnet_np import models, weights
from alexnet_np.cli import main
from alexnet_np.recipe import Recipe

pytestmark = pytest.mark.usefixtures("small_and_elsewhere")

LAST = ("classifier.4.weight", "classifier.4.bias")


@pytest.fixture
def pretrained(small_and_elsewhere):
    """A .pth file of a network that knows 7 classes, and what is in it."""
    state = small_network(7, seed=9).torch_state_dict()
    torch.save({name: torch.from_numpy(array.copy()) for name, array in state.items()}, "pretrained.pth")
    return state


def run(colours, *more):
    command = ["train", "--data", str(colours), "--size", "64", "--epochs", "1", "--batch-size", "5", "--out", "run"]
    assert main([*command, *more]) == 0
    return load_file("run/weights.safetensors")


def test_all_but_the_last_layer_is_loaded(colours, pretrained, capsys):
    """A rate of 0 leaves what the run began with."""
    begun = run(colours, "--weights", "pretrained.pth", "--lr", "0")
    fresh = small_network(3).torch_state_dict()
    assert begun.keys() == pretrained.keys()
    for name, array in begun.items():
        np.testing.assert_array_equal(array, fresh[name] if name in LAST else pretrained[name], err_msg=name)
    out = capsys.readouterr().out
    assert "pretrained.pth; the last layer starts fresh: the number of classes differs" in out
    assert "a network that knows nothing" not in out


def test_frozen_features_stay_and_the_rest_learns(colours, pretrained, capsys):
    tuned = run(colours, "--weights", "pretrained.pth", "--freeze", "features", "--momentum", "0.5")
    for name, array in tuned.items():
        if name.startswith("features."):
            np.testing.assert_array_equal(array, pretrained[name], err_msg=name)
        elif name not in LAST:
            assert not np.array_equal(array, pretrained[name]), name
    assert 'freeze = "features"' in Path("run/config.toml").read_text("utf-8")
    learning = sum(array.size for name, array in tuned.items() if not name.startswith("features."))
    every = sum(array.size for array in tuned.values())
    assert f", {every:,} parameters ({learning:,} learn), on cpu" in capsys.readouterr().out


def test_a_run_is_weights_too_and_its_classes_may_be_the_same(colours, capsys):
    first = run(colours, "--lr", "0.01")
    Path("run").rename("first")
    again = run(colours, "--weights", "first", "--lr", "0")
    assert all(np.array_equal(again[name], array) for name, array in first.items())
    assert "starts fresh" not in capsys.readouterr().out


@pytest.mark.parametrize("optimizer", ["sgd", "2012"])
def test_a_frozen_training_goes_on_from_a_checkpoint_with_the_same_bits(optimizer):
    recipe = Recipe(epochs=2, batch_size=7, lr=0.02, seed=4, optimizer=optimizer, freeze="features")
    whole = train(new_trainer(recipe))
    stopped = train(new_trainer(recipe), stop_after=5)
    resumed = new_trainer(recipe)
    resumed.resume(stopped.checkpoint())
    train(resumed)
    begun, expected = weights_of(new_trainer(recipe).net), weights_of(whole.net)
    for name, array in weights_of(resumed.net).items():
        np.testing.assert_array_equal(array, expected[name])
        assert np.array_equal(array, begun[name]) == name.startswith("features."), name


@pytest.mark.parametrize("build", [models.alexnet_keras, models.alexnet_2012])
def test_features_are_the_convolutions_of_every_network(build):
    net = build(num_classes=2, init="zeros")
    Recipe(freeze="features").new_optimizer(net.parameters())
    assert [p.requires_grad for p in net.parameters()] == 10 * [False] + 6 * [True]


def test_what_does_not_fit_leaves_nothing(colours, pretrained, capsys):
    for argv, message in (
        (["--weights", "nowhere.pth"], "there is no file "),
        (["--weights", str(colours)], "is no folder of a training run"),
        (["--weights", "odd.pth"], "odd.pth is not a file of weights"),
        (["--weights", "other.safetensors"], "other.safetensors: state dict: features.0.bias: expected shape (8,)"),
    ):
        Path("odd.pth").write_text("odd")
        state = {**pretrained, "features.0.bias": np.zeros(5, np.float32)}
        save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, "other.safetensors")
        command = ["train", "--data", str(colours), "--size", "64", "--out", "run", *argv]
        assert main(command) == 2
        assert message in capsys.readouterr().err
        assert not Path("run").exists()
    with pytest.raises(ValueError, match="Recipe: freeze: expected None or 'features', got 'classifier'"):
        Recipe(freeze="classifier")


@pytest.mark.usefixtures("pretrained")
def test_a_network_of_other_classes_is_refused_without_being_told_to_fine_tune():
    net = small_network(3)
    before = weights_of(net)
    with pytest.raises(ValueError, match=r"classifier\.4\.weight: expected shape .* \(another num_classes\?\)"):
        weights.load(net, "pretrained.pth")
    assert_same(weights_of(net), before)

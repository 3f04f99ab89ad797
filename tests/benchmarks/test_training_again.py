"""The same training by PyTorch: one that learns otherwise must show, and so must one that does the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pictures import write_class_folders
from small_training import pictures

from alexnet_np import cli, data, runs
from alexnet_np.data import Preparation
from alexnet_np.recipe import Recipe
from benchmarks import training
from benchmarks.training import OTHER_MASKS, OURS, PYTORCH

RECIPE = Recipe(epochs=2, batch_size=4, lr=0.01, warmup=1, bias_decay=False, label_smoothing=0.1, seed=3)


@pytest.fixture(scope="module")
def run():
    train, test = pictures(12), pictures(6, seed=1)
    settings = runs.Settings("alexnet", "paper", train.classes, "colours", Preparation.photographs(96))
    return training.Run(settings, RECIPE, data.Data("colours", train, test, photographs=True, size=96))


@pytest.fixture(scope="module")
def result(run, tmp_path_factory):
    return training.measure(run, tmp_path_factory.mktemp("root"), say=lambda line: None)


def distance(result, name):
    losses = {key: np.array(learner["losses"]) for key, learner in result["learners"].items()}
    return np.abs(losses[name] - losses[OURS])


def test_pytorch_learns_the_same(result):
    assert len(result["learners"][OURS]["losses"]) == 6
    assert distance(result, PYTORCH).max() < 1e-4
    assert distance(result, OTHER_MASKS).max() > 1e-3  # the masks matter, so the others were the same
    last = [result["learners"][name]["epochs"][-1] for name in (OURS, PYTORCH)]
    assert last[0]["test_loss"] == pytest.approx(last[1]["test_loss"], abs=1e-4)
    assert last[0]["lr"] == last[1]["lr"]


@pytest.mark.parametrize("mistake", ["decay", "rate", "layout"])
def test_a_mistake_on_one_side_shows(run, result, mistake):
    recipe = replace(RECIPE, weight_decay=3.0) if mistake == "decay" else RECIPE
    trainer = replace(run, recipe=recipe).trainer()
    trainer.step = training.Torch(trainer)
    if mistake == "rate":
        trainer.step.rates = replace(trainer.sgd.groups[0], lr=0.02)
    if mistake == "layout":
        trainer.step.module.flatten = torch.nn.Sequential(Turned(), torch.nn.Flatten())
    losses = [progress.step_loss for progress in trainer.steps()]
    assert abs(losses[-1] - result["learners"][OURS]["losses"][len(losses) - 1]) > 1e-4


class Turned(torch.nn.Module):
    def forward(self, x):
        return x.transpose(2, 3)


def test_what_is_written(result, tmp_path):
    text = training.write(result, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {training.RESULT, training.REPORT, training.PLOT}
    assert "12 pictures of 96x96 pixels: 2 epochs, batches of 4" in text
    rows = {line[: line.find("  ", 3)].strip(): line.split()[-2:] for line in text.splitlines() if line.count("%")}
    assert rows.keys() == {OURS, PYTORCH, OTHER_MASKS}
    assert rows[OURS] == ["0.0e+00", "0.0e+00"]
    assert float(rows[PYTORCH][1]) < float(rows[OTHER_MASKS][1])


def test_a_run_of_the_command_line_is_read(tmp_path):
    write_class_folders(tmp_path / "train", 4)
    write_class_folders(tmp_path / "val", 2)
    flags = ["--epochs", "1", "--size", "64", "--batch-size", "6", "--no-bias-decay", "--out", str(tmp_path / "run")]
    assert cli.main(["train", "--data", str(tmp_path), *flags]) == 0
    run = training.Run.read(tmp_path / "run")
    assert (run.recipe.batch_size, run.recipe.bias_decay, len(run.data.train)) == (6, False, 12)

    config = tmp_path / "run" / runs.CONFIG
    config.write_text(config.read_text().replace('optimizer = "sgd"', 'optimizer = "2012"'))
    with pytest.raises(ValueError, match="optimizer: expected 'sgd', got '2012'"):
        training.Run.read(tmp_path / "run")

"""What is made of the times, and the gate."""

import numpy as np
import pytest

from benchmarks import correctness, problem
from benchmarks.measure import statistics


def test_a_ratio_is_taken_within_its_round():
    """The machine is half as fast in the second round: for everybody. And the quickest peer may change."""
    calls = {"own": [[1.0], [2.0], [1.0]], "a": [[2.0], [4.0], [2.5]], "b": [[3.0], [6.0], [2.0]]}
    figures = statistics(calls, peers=["a", "b"])
    assert (figures["own"]["ratio"], figures["own"]["ratio_low"], figures["own"]["ratio_high"]) == (0.5, 0.5, 0.5)
    assert (figures["a"]["ratio_low"], figures["a"]["ratio_high"]) == (1.0, 1.25)
    assert figures["own"]["median_s"] == 1.0


def test_a_turn_counts_by_its_median():
    figures = statistics({"own": [[1, 1, 50], [2, 2, 2], [3, 3, 0.5], [4, 4, 4], [5, 5, 5]]}, peers=[])
    assert [figures["own"][key] for key in ("q1_s", "median_s", "q3_s", "best_s")] == [2, 3, 4, 0.5]
    assert figures["own"]["ratio"] is None


@pytest.mark.parametrize(
    ("got", "expected", "error"),
    [
        ([[3.0, 4.0]], [[3.0, 4.0]], 0.0),
        ([[3.0, 4.0], [0.0, 0.0]], [[0.0, 4.0], [0.0, 3.0]], np.sqrt(18 / 25)),
        ([3.0], [[3.0]], np.inf),
        ([np.nan, 1.0], [1.0, 1.0], np.inf),
        ([np.inf, 1.0], [1.0, 1.0], np.inf),
        ([0.0], [0.0], 0.0),
        ([1e-3], [0.0], 1.0),
        (2.0, 4.0, 0.5),
    ],
)
def test_relative_error(got, expected, error):
    assert correctness.relative_error(np.float32(got), np.float64(expected)) == pytest.approx(error)


class Line:
    """The smallest contender: logits = x w, loss = mean of their squares."""

    def __init__(self, start, dtype="float64", momentum=0.9):
        self.w = start["classifier.6.weight"].astype(dtype)
        self.v = np.zeros_like(self.w)
        self.momentum = momentum
        self.x = np.random.default_rng(1).standard_normal((5, 3)).astype(dtype)
        self.dropout = 0.5

    def set_dropout(self, p):
        self.dropout = p

    def infer(self):
        return self.x @ self.w

    def gradients(self):
        y = self.infer() * (1 - self.dropout)
        return (y**2).mean(), {"classifier.6.weight": self.x.T @ y * (2 / y.size)}

    def step(self):
        self.v = self.momentum * self.v + self.gradients()[1]["classifier.6.weight"] + problem.WEIGHT_DECAY * self.w
        self.w -= problem.LR * self.v

    def weights(self):
        return {"classifier.6.weight": self.w}


@pytest.fixture
def start(monkeypatch):
    weights = {"classifier.6.weight": np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)}
    monkeypatch.setattr(problem, "weights", lambda: weights)
    return weights


@pytest.mark.parametrize(
    ("contender", "culprit"),
    [
        ({"dtype": "float32"}, None),
        ({"momentum": 0.0}, "update classifier.6.weight"),
    ],
)
def test_the_gate(start, tmp_path, contender, culprit):
    correctness.write(tmp_path, correctness.network(Line(start)))
    errors = correctness.errors(tmp_path, correctness.network(Line(start, **contender)))
    assert list(errors) == ["logits", "loss", "gradient classifier.6.weight", "update classifier.6.weight"]
    objection = correctness.objection(errors)
    assert objection is None if culprit is None else objection.startswith(f"{culprit}: relative error")


def test_the_gate_sees_the_weight_decay_and_the_rate(start, tmp_path, monkeypatch):
    correctness.write(tmp_path, correctness.network(Line(start)))
    monkeypatch.setattr(problem, "LR", 1.01 * problem.LR)
    errors = correctness.errors(tmp_path, correctness.network(Line(start)))
    assert correctness.objection(errors).startswith("update")

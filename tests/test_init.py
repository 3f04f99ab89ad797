"""How weights start: the bounds of torch and Keras, the statistics, the seeds."""

import numpy as np
import pytest
import torch
from keras_import import import_keras

from alexnet_np import init, layers

CONV, LINEAR = (5, 3, 8, 96), (300, 200)  # (KH, KW, C/G, O), (inputs, outputs)


def draw(rule, shape, seed=0):
    return init.rule(rule)(np.random.default_rng(seed), shape)


def torch_layer(shape):
    if len(shape) == 2:
        return torch.nn.Linear(*shape)
    KH, KW, C, O = shape
    return torch.nn.Conv2d(2 * C, O, (KH, KW), groups=2)  # as fan_in goes, the group's channels count


def assert_uniform(values, bound):
    """Within the bound, up to it, and of a uniform distribution's mean and standard deviation."""
    assert abs(values).max() <= bound * (1 + 1e-6)
    assert min(values.max(), -values.min()) > 0.97 * bound
    error = bound / np.sqrt(3 * values.size)
    assert abs(values.mean()) < 5 * error
    assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)


@pytest.mark.parametrize("shape", [CONV, LINEAR])
def test_torchs_rule_has_torchs_bounds(shape):
    weight, bias = draw("torch", shape)
    bound = 1 / np.sqrt(np.prod(shape[:-1]))
    assert_uniform(weight, bound)
    assert abs(bias).max() <= bound
    assert abs(bias).max() > 0.9 * bound
    for ours, theirs in zip((weight, bias), torch_layer(shape).parameters(), strict=True):
        assert abs(ours).max() == pytest.approx(theirs.abs().max().item(), rel=0.05)
        assert ours.std() == pytest.approx(theirs.std().item(), rel=0.2)


@pytest.mark.parametrize("shape", [CONV, LINEAR])
def test_kerass_rule_is_glorots(shape):
    initializer = import_keras().initializers.GlorotUniform(seed=0)
    weight, bias = draw("keras", shape)
    field = np.prod(shape[:-2])
    assert_uniform(weight, np.sqrt(6 / (field * (shape[-2] + shape[-1]))))
    assert abs(weight).max() == pytest.approx(initializer(shape).abs().max().item(), rel=0.01)
    np.testing.assert_array_equal(bias, np.zeros(shape[-1]))


def test_the_papers_rule_is_normal():
    weight, bias = draw("paper", LINEAR)
    assert weight.mean() == pytest.approx(0, abs=5 * 0.01 / np.sqrt(weight.size))
    assert weight.std() == pytest.approx(0.01, rel=0.02)
    assert (abs(weight) > 0.02).mean() == pytest.approx(0.0455, abs=0.005)  # the tails of a normal distribution
    np.testing.assert_array_equal(bias, np.zeros(200))
    weight, bias = draw(init.normal(0.03, bias=1), CONV)
    assert weight.std() == pytest.approx(0.03, rel=0.02)
    np.testing.assert_array_equal(bias, np.ones(96))


@pytest.mark.parametrize("rule", init.RULES)
@pytest.mark.parametrize("shape", [CONV, LINEAR])
def test_shapes_dtype_and_seeds(rule, shape):
    weight, bias = draw(rule, shape)
    assert (weight.shape, bias.shape) == (shape, shape[-1:])
    assert weight.dtype == bias.dtype == np.float32
    for first, again in zip((weight, bias), draw(rule, shape), strict=True):
        np.testing.assert_array_equal(first, again)
    assert np.array_equal(draw(rule, shape, seed=1)[0], weight) == (rule == "zeros")


def test_layers_pass_their_shape_on():
    """Grouped convolutions have fewer inputs an output; without a generator two layers differ."""
    layer = layers.Conv2d(16, 96, (5, 3), groups=2, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(layer.weight.data, draw("torch", CONV)[0])
    layer = layers.Linear(*LINEAR, init=init.normal(0.1, bias=2), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(layer.bias.data, np.full(200, 2))
    first, second = layers.Linear(3, 4), layers.Linear(3, 4)
    assert not np.array_equal(first.weight.data, second.weight.data)


def test_an_unknown_rule_meets_a_sentence():
    with pytest.raises(ValueError, match="init: expected one of torch, keras, paper, zeros or a rule, got 'he'"):
        init.rule("he")

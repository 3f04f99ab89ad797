"""Frozen parameters: nothing moves them, nothing is computed or kept for them, and the others learn as before."""

import numpy as np
import pytest
from pictures import small_network
from pretended_gpu import Graph, pretend
from small_training import RECIPE, assert_same, new_trainer, train, weights_of

from alexnet_np import gradcheck, layers, losses, models, optim
from alexnet_np.recipe import Recipe
from alexnet_np.step import NotFiniteError, Step

H, W = 67, 75
IMAGES = np.random.default_rng(0).standard_normal((6, H, W, 3), dtype=np.float32)
LABELS = np.array([0, 2, 1, 1, 0, 2])

devices = pytest.mark.parametrize("device", ["reference", "cpu"])


def new(device="cpu", frozen=(), **options):
    """The same small network each time, but for what is frozen."""
    net = small_network(**options).to(device)
    for p in net.parameters():
        p.requires_grad = not p.name.startswith(frozen) if frozen else True
    return net


def gradients(net, input_grad=False):
    """Of every parameter by its name, and of the images, after a forward and a backward."""
    logits = net.forward(IMAGES, training=True, input_grad=input_grad)
    _, dlogits = losses.softmax_cross_entropy(logits, LABELS)
    dx = net.backward(dlogits, input_grad=input_grad)
    return {p.name: p.grad for p in net.parameters()} | {"images": dx}


def assert_same_where_there_are_any(some, all_):
    for name, gradient in some.items():
        if gradient is not None:
            np.testing.assert_array_equal(gradient, all_[name], err_msg=name)


@devices
@pytest.mark.parametrize(
    ("frozen", "learning"),
    [
        ("features.", ["classifier.1.weight", "classifier.1.bias", "classifier.4.weight", "classifier.4.bias"]),
        (("features.", "classifier.1."), ["classifier.4.weight", "classifier.4.bias"]),
        ("classifier.1.", ["features.0.weight", "features.0.bias", "classifier.4.weight", "classifier.4.bias"]),
        (("features.", "classifier.1.weight"), ["classifier.1.bias", "classifier.4.weight", "classifier.4.bias"]),
    ],
)
def test_what_learns_has_the_same_gradients(device, frozen, learning):
    found = gradients(new(device, frozen))
    assert [name for name, gradient in found.items() if gradient is not None] == learning
    assert_same_where_there_are_any(found, gradients(new(device)))


@devices
def test_backward_ends_at_the_first_layer_that_learns_and_nothing_is_kept_below(device, monkeypatch):
    net = new(device, "features.")
    logits = net.forward(IMAGES, training=True)
    assert [name for name, layer in net.walk() if layer.has_saved][:1] == ["classifier.1"]
    for name in vars(net.backend.kernels):
        if name.startswith(("conv", "max_pool", "adaptive", "dropout")) and name.endswith("backward"):
            monkeypatch.setattr(net.backend.kernels, name, None)
    net.children["classifier"][3].p = 0.0  # the dropout that backward does go through
    logits = net.forward(IMAGES, training=True)
    assert net.backward(logits) is None
    assert all(p.grad is not None for p in net.children["classifier"].parameters())


@devices
def test_the_images_gradient_is_there_for_who_says_so_in_forward(device):
    found = gradients(new(device, "features."), input_grad=True)
    assert found["features.0.weight"] is None
    assert found["images"].shape == IMAGES.shape
    assert_same_where_there_are_any(found, gradients(new(device), input_grad=True))

    net = new(device, "features.")
    logits = net.forward(IMAGES)
    with pytest.raises(RuntimeError, match=r"frozen early layers need forward\(\.\.\., input_grad=True\)"):
        net.backward(logits, input_grad=True)


def test_a_sequential_alone_has_its_input_gradient_as_ever():
    features = new(frozen="features.").children["features"]
    dx = features.backward(features.forward(IMAGES))
    assert dx.shape == IMAGES.shape


class EndsInSoftmax(models.AlexNetKeras):
    """A small network with the methods of AlexNetKeras."""

    def __init__(self):
        rng = np.random.default_rng(0)
        models.Network.__init__(
            self,
            conv2d=layers.Conv2d(3, 4, 9, stride=9, rng=rng),
            relu=layers.ReLU(inplace=True),
            flatten=layers.Flatten(),
            dense=layers.Linear(7 * 8 * 4, 3, rng=rng),
            softmax=layers.Softmax(),
        )


@pytest.mark.parametrize("method", ["forward", "logits"])
def test_a_network_that_ends_in_softmax_can_be_frozen_too(method):
    dy = np.random.default_rng(1).standard_normal((6, 3), dtype=np.float32)
    net, expected = EndsInSoftmax(), EndsInSoftmax()
    net.children["conv2d"].requires_grad_(False)
    getattr(expected, method)(IMAGES, input_grad=True)
    dx = expected.backward(dy, input_grad=True)
    for input_grad in (False, True):
        getattr(net, method)(IMAGES, input_grad=input_grad)
        assert net.children["conv2d"].has_saved == input_grad
        found = net.backward(dy, input_grad=input_grad)
        assert found is None if not input_grad else np.array_equal(found, dx)
        gradients = [p.grad for p in net.parameters()]
        assert gradients[:2] == [None, None]
        for gradient, p in zip(gradients[2:], expected.parameters()[2:], strict=True):
            np.testing.assert_array_equal(gradient, p.grad)


def test_where_nothing_learns_nothing_is_done():
    net = new().requires_grad_(False)
    net.backward(net.forward(IMAGES))
    assert not net.has_saved
    before = weights_of(net)
    optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1).step()
    assert_same(weights_of(net), before)


def test_freezing_leaves_a_gradient_and_thawing_brings_the_next():
    """As in torch."""
    net = new(dropout=0.0)
    old = gradients(net)
    net.children["features"].requires_grad_(False)
    for accumulate in (False, True):
        net.backward(net.forward(IMAGES), accumulate=accumulate)
        assert all(p.grad is old[name] for name, p in net.named_parameters() if name.startswith("features."))
    net.requires_grad_()
    assert_same(gradients(net), gradients(new(dropout=0.0)))


@pytest.mark.parametrize("make", [optim.SGD, optim.recipe_2012, optim.without_bias_decay])
def test_an_optimiser_moves_what_learns_and_nothing_else(make):
    """Not by decay either, nor by the velocity of an earlier step, which is still there when it goes on."""
    net = new()
    sgd = make(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    gradients(net)
    sgd.step()
    net.children["features"].requires_grad_(False)
    before = weights_of(net)
    for _ in range(2):
        gradients(net)
        sgd.step()
    for name, array in weights_of(net).items():
        assert np.array_equal(array, before[name]) == name.startswith("features."), name


def test_the_average_of_frozen_weights_is_their_own_bits():
    trainer = new_trainer(Recipe(**{**vars(RECIPE), "ema": 0.9, "freeze": "features"}))
    begun = weights_of(trainer.net)
    train(trainer)
    for name, array in trainer.average.arrays.items():
        assert np.array_equal(array, begun[name]) == name.startswith("features."), name


def test_the_average_follows_frozen_weights_that_are_loaded_later_and_leaves_them_alone_when_they_learn_again():
    trainer = new_trainer(Recipe(**{**vars(RECIPE), "ema": 0.9, "freeze": "features"}))
    loaded = weights_of(small_network(seed=9))
    trainer.net.load_state_dict(loaded)
    train(trainer, 2)
    with trainer.delivered():
        np.testing.assert_array_equal(weights_of(trainer.net)["features.0.weight"], loaded["features.0.weight"])

    trainer.net.requires_grad_()
    trainer.average.update()
    np.testing.assert_array_equal(weights_of(trainer.net)["features.0.weight"], loaded["features.0.weight"])


# ---- what else looks at gradients


@devices
def test_a_step_notices_infinity_in_what_learns(device):
    net = new(device, ("features.", "classifier.1.bias", "classifier.4."), dropout=0.0)
    step = Step(net, optim.SGD(net.parameters(), lr=0.1))
    step(IMAGES, LABELS)
    net.children["classifier"][4].weight.data[...] = [1e38, -1e38, 1e38]
    net.children["classifier"][1].weight.data[...] = 1e-38
    before = weights_of(net)
    with pytest.raises(NotFiniteError):
        step(1e10 * IMAGES, LABELS)
    assert_same(weights_of(net), before)


def test_gradcheck_checks_what_learns():
    net = layers.Sequential(
        layers.Conv2d(2, 3, (3, 2), stride=2, rng=np.random.default_rng(0)),
        layers.ReLU(inplace=True),
        layers.Flatten(),
        layers.Linear(24, 4, rng=np.random.default_rng(1)),
    )
    net.to("reference", "float64").children["0"].requires_grad_(False)
    x = np.random.default_rng(2).standard_normal((2, 9, 5, 2))
    for complex_step in (False, True):
        found = gradcheck.check(net, (x,), complex_step=complex_step)
        assert [row.tensor for row in found] == ["x", "3.weight", "3.bias"]


def test_a_recording_does_not_outlive_a_change_of_what_learns(monkeypatch):
    pretend(monkeypatch)
    steps = [
        Step(net, optim.SGD(net.parameters(), 0.05)) for net in (new("gpu", dropout=0.0), new("reference", dropout=0.0))
    ]
    for number in range(6):
        for step in steps:
            step.net.children["features"].requires_grad_(number < 3)
            step(IMAGES, LABELS)
    assert_same(*({p.name: np.array(p.data) for p in step.net.parameters()} for step in steps))
    assert Graph.launches == 4

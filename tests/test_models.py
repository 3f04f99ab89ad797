"""The three networks as a user meets them: seeds, arguments, the kinds of input they refuse, forward and logits."""

import numpy as np
import pytest
from against_torch import relative_error

from alexnet_np import layers, losses, models


@pytest.fixture(scope="module")
def alexnet():
    return models.alexnet(num_classes=10, seed=3)


@pytest.fixture(scope="module")
def alexnet_keras():
    return models.alexnet_keras(num_classes=10, seed=3)


def images(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def test_a_seed_fixes_weights_and_dropout_masks(alexnet):
    x = images(2, 63, 63, 3)
    same, other = models.alexnet(num_classes=10, seed=3), models.alexnet(num_classes=10, seed=4)
    for p, q, r in zip(alexnet.parameters(), same.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
        assert not np.array_equal(p.data, r.data)
    first, second = ([net.forward(x, training=True, keep=False) for _ in range(2)] for net in (alexnet, same))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first[0], first[1])  # masks go on from step to step
    np.testing.assert_array_equal(alexnet.forward(x, keep=False), same.forward(x, keep=False))


def test_each_network_starts_as_its_original_does():
    """One statistic that tells the rules apart; test_init.py has the rules."""
    small = {"num_classes": 2}
    torch_like = models.alexnet(**small).parameters()
    assert np.ptp(torch_like[1].data) > 0  # biases are random
    keras_like = models.alexnet_keras(**small).parameters()
    assert abs(keras_like[0].data).max() == pytest.approx(np.sqrt(6 / (11 * 11 * (3 + 64))), rel=0.01)
    assert not any(p.data.any() for p in keras_like[1::2])

    paper, code = (models.alexnet_2012(variant, **small).parameters() for variant in ("paper", "code"))
    for parameters in (paper, code):
        assert [set(p.data) for p in parameters[1::2]] == [{0}, {1}, {0}, {1}, {1}, {1}, {1}, {0}]
    stds = [[round(float(p.data.std()), 3) for p in parameters[:-2:2]] for parameters in (paper, code)]
    assert stds == [[0.01] * 7, [0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01]]


def test_the_first_loss_is_that_of_a_guess(alexnet):
    logits = alexnet.forward(images(8, 63, 63, 3), keep=False)
    loss, _ = losses.softmax_cross_entropy(logits, np.arange(8))
    assert loss == pytest.approx(np.log(10), abs=0.1)


@pytest.mark.parametrize("name", ["alexnet", "alexnet_keras", "alexnet_2012"])
def test_num_classes_and_dropout_reach_the_layers(name):
    net = getattr(models, name)(num_classes=7, dropout=0.25, init="zeros")
    assert net.num_classes == 7
    assert net.parameters()[-1].data.shape == (7,)
    dropouts = [layer for _, layer in net.walk() if isinstance(layer, layers.Dropout)]
    assert [layer.p for layer in dropouts] == [0.25] * (3 if name == "alexnet_keras" else 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.alexnet(num_classes=0), "alexnet: num_classes: expected an integer of at least 1, got 0"),
        (
            lambda: models.alexnet_keras(num_classes="10"),
            "alexnet_keras: num_classes: expected an integer of at least 1, got '10'",
        ),
        (
            lambda: models.alexnet_2012(dropout=-0.5),
            "alexnet_2012: dropout: expected a probability from 0 to 1, got -0.5",
        ),
        (
            lambda: models.alexnet_2012("caffe"),
            "alexnet_2012: variant: expected 'paper' or 'code', got 'caffe'",
        ),
        (
            lambda: models.alexnet(init="he"),
            "init: expected one of torch, keras, paper, zeros or a rule, got 'he'",
        ),
    ],
)
def test_a_wrong_argument_meets_a_sentence(call, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the whole message follows
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("shape", "got"),
    [
        ((2, 3, 224, 224), "(2, 3, 224, 224)"),  # channels first
        ((224, 224, 3), "(224, 224, 3)"),
        ((1, 62, 300, 3), "(1, 62, 300, 3)"),
        ((1, 224, 224, 1), "(1, 224, 224, 1)"),
    ],
)
def test_images_of_another_shape_are_refused(alexnet, shape, got):
    for call in (lambda: alexnet.forward(np.zeros(shape, np.float32)), lambda: alexnet.output_shape(shape)):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            call()
        assert str(caught.value) == f"AlexNet: expected images (N, H, W, 3) of at least 63x63 pixels, got {got}"
    assert not alexnet.has_saved


def test_alexnet_keras_takes_227_pixels_only(alexnet_keras):
    message = r"AlexNetKeras: expected images \(N, 227, 227, 3\), got \(1, 224, 224, 3\)"
    for call in (alexnet_keras.forward, alexnet_keras.logits):
        with pytest.raises(ValueError, match=message):
            call(np.zeros((1, 224, 224, 3), np.float32))


def test_alexnet_2012_says_what_it_takes():
    net = models.alexnet_2012(num_classes=2, init="zeros")
    message = r"AlexNet2012: expected images \(N, 224, 224, 3\) or \(N, 227, 227, 3\), got \(1, 256, 256, 3\)"
    with pytest.raises(ValueError, match=message):
        net.forward(np.zeros((1, 256, 256, 3), np.float32))


def test_photographs_as_bytes_are_refused(alexnet):
    with pytest.raises(TypeError, match="AlexNet: x: expected dtype float32, got uint8"):
        alexnet.forward(np.zeros((1, 63, 63, 3), np.uint8))
    with pytest.raises(TypeError, match="AlexNet on cpu: x: expected a numpy array, got list"):
        alexnet.forward([[0.0]])


def test_backward_gives_the_images_a_gradient_only_if_asked(alexnet):
    x = images(2, 70, 63, 3)
    y = alexnet.forward(x)
    assert alexnet.backward(np.ones_like(y)) is None
    once = [p.grad.copy() for p in alexnet.parameters()]
    alexnet.forward(x)
    assert alexnet.backward(np.ones_like(y), accumulate=True, input_grad=True).shape == x.shape
    for p, grad in zip(alexnet.parameters(), once, strict=True):
        assert relative_error(p.grad, 2 * grad) <= 1e-5, p.name
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        alexnet.backward(np.ones_like(y))


def test_inference_keeps_nothing(alexnet):
    x = images(1, 63, 63, 3)
    y = alexnet(x)
    assert alexnet.has_saved
    np.testing.assert_array_equal(alexnet.forward(x, keep=False), y)
    assert not any(layer.has_saved for _, layer in alexnet.walk())
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        alexnet.backward(np.ones_like(y))


def test_images_and_weights_are_not_written(alexnet):
    x = images(1, 63, 64, 3)
    before = x.copy()
    weights = [p.data.copy() for p in alexnet.parameters()]
    alexnet.backward(np.ones_like(alexnet.forward(x, training=True)))
    np.testing.assert_array_equal(x, before)
    for p, expected in zip(alexnet.parameters(), weights, strict=True):
        np.testing.assert_array_equal(p.data, expected)


def test_alexnet_keras_gives_probabilities_and_its_logits(alexnet_keras):
    """backward takes the gradient of whichever of the two was asked for last."""
    x = images(2, 227, 227, 3)
    labels = np.array([1, 4])
    probabilities = alexnet_keras.forward(x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)

    logits = alexnet_keras.logits(x)  # after a forward whose backward never came
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, e / e.sum(axis=1, keepdims=True), rtol=1e-5)
    _, dlogits = losses.softmax_cross_entropy(logits, labels)
    alexnet_keras.backward(dlogits)
    expected = [p.grad.copy() for p in alexnet_keras.parameters()]

    alexnet_keras.forward(x)
    dprobabilities = np.zeros_like(probabilities)
    dprobabilities[[0, 1], labels] = -0.5 / probabilities[[0, 1], labels]
    alexnet_keras.backward(dprobabilities)
    for p, grad in zip(alexnet_keras.parameters(), expected, strict=True):
        assert relative_error(p.grad, grad) <= 1e-4, p.name

    alexnet_keras.logits(x, keep=False)
    assert not alexnet_keras.has_saved


def test_logits_are_forwards_result_elsewhere(alexnet):
    x = images(1, 63, 63, 3)
    np.testing.assert_array_equal(alexnet.logits(x, keep=False), alexnet.forward(x, keep=False))


def test_dtype_and_device_can_be_asked_and_changed(alexnet):
    assert (alexnet.device, alexnet.dtype) == ("cpu", np.float32)
    net = models.alexnet(num_classes=2, init="zeros")
    assert net.to("reference", "float64") is net
    assert (net.device, net.dtype) == ("reference", np.float64)
    assert net.forward(np.zeros((1, 63, 63, 3)), keep=False).dtype == np.float64

"""alexnet_keras against the Keras Sequential, on Keras's torch backend.

Keras computes in float64 as far as it can be made to: its Dense layer multiplies matrices in float32 whatever
dtype it is given (its rules of promotion end there), so that this is how far the two can agree.
"""

import numpy as np
import pytest
import torch
from against_torch import relative_error
from keras_import import import_keras, keras_alexnet

from alexnet_np import losses, models, weights

keras = import_keras()

# From NumPy, where Keras copies its variables.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def theirs():
    net = keras_alexnet(num_classes=1000, dtype="float64")
    rng = np.random.default_rng(0)
    scales = [0.1 if a.ndim == 1 else np.sqrt(2 / a[..., 0].size) for a in net.get_weights()]
    net.set_weights([scale * rng.standard_normal(a.shape) for scale, a in zip(scales, net.get_weights(), strict=True)])
    return net


@pytest.fixture(scope="module")
def ours(theirs):
    net = models.alexnet_keras(init="zeros").to("cpu", "float64")
    weights.load_keras(net, theirs.get_weights())
    return net


# Exact in float32, to which Sequential casts its input before the first layer casts it to float64. With these, no ReLU
# behind a Dense layer is so near its kink that float32 could take the other side.
IMAGES = np.random.default_rng(1).standard_normal((2, 227, 227, 3), dtype=np.float32).astype(np.float64)
LABELS = np.array([17, 999])


def keras_step(net):
    """Probabilities and, in order, the gradients of the mean of -log(probability of the label)."""
    net.zero_grad()
    probabilities = net(torch.from_numpy(IMAGES), training=False)
    (-torch.log(probabilities[[0, 1], LABELS]).mean()).backward()
    return probabilities.detach().numpy(), [v.value.grad for v in net.trainable_variables]


def assert_grads_equal(net, expected):
    errors = {p.name: relative_error(p.grad, g) for p, g in zip(net.parameters(), expected, strict=True)}
    assert not {name: error for name, error in errors.items() if not error <= TOLERANCE}


def test_probabilities_and_gradients_equal_keras(ours, theirs):
    net = ours.to("cpu")
    expected, expected_grads = keras_step(theirs)

    probabilities = net.forward(IMAGES)
    assert relative_error(probabilities, expected) <= TOLERANCE
    dprobabilities = np.zeros_like(probabilities)
    dprobabilities[[0, 1], LABELS] = -1 / (2 * probabilities[[0, 1], LABELS])
    net.backward(dprobabilities)
    assert_grads_equal(net, expected_grads)

    # The same gradients by way of the logits and the loss that takes them.
    _, dlogits = losses.softmax_cross_entropy(net.logits(IMAGES), LABELS)
    net.backward(dlogits)
    assert_grads_equal(net, expected_grads)


def test_dropout_stands_before_all_three_dense_layers(ours, theirs, monkeypatch):
    """The same masks on both sides, drawn from one seed."""
    rng = np.random.default_rng(7)
    masks = [2 * (rng.random((2, size), dtype=np.float32) >= 0.5) for size in (9216, 4096, 4096)]
    dropouts = [layer for layer in theirs.layers if isinstance(layer, keras.layers.Dropout)]
    for layer, mask in zip(dropouts, masks, strict=True):
        monkeypatch.setattr(layer, "call", lambda x, training=None, mask=mask: x * torch.from_numpy(mask))
    expected, expected_grads = keras_step(theirs)

    net = ours.to("reference")
    rng = np.random.default_rng(7)
    for name in ("dropout", "dropout_1", "dropout_2"):
        net.children[name].rng = rng
    logits = net.logits(IMAGES, training=True)
    _, dlogits = losses.softmax_cross_entropy(logits, LABELS)
    net.backward(dlogits)
    assert relative_error(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), expected) <= TOLERANCE
    assert_grads_equal(net, expected_grads)


def test_weights_go_both_ways(ours, theirs):
    arrays = weights.to_keras(ours)
    assert all(map(np.array_equal, arrays, theirs.get_weights()))
    with pytest.raises(ValueError, match="expected 16 arrays, got 15"):
        weights.load_keras(ours, arrays[:-1])


def test_weights_of_torchvisions_network_load_but_see_the_image_two_pixels_on(ours):
    """Parameters are the same, but torchvision's first convolution pads the image, and Keras's does not.

    Only where the first two rows and columns are blank does torchvision's network, shown the rest of the
    image, say the same.
    """
    net = models.alexnet(init="zeros").to("cpu", "float64")
    net.load_torch_state_dict(ours.torch_state_dict())
    assert all(map(np.array_equal, weights.to_keras(net), weights.to_keras(ours)))

    ours.to("cpu")
    images = IMAGES[:1].copy()
    expected = ours.logits(images, keep=False)
    assert relative_error(net.forward(images, keep=False), expected) > 1e-2
    images[:, :2] = images[:, :, :2] = 0
    expected = ours.logits(images, keep=False)
    assert relative_error(net.forward(np.ascontiguousarray(images[:, 2:, 2:]), keep=False), expected) <= 1e-10

    back = models.alexnet_keras(init="zeros").to("cpu", "float64")
    back.load_torch_state_dict(net.torch_state_dict())
    assert all(map(np.array_equal, weights.to_keras(back), weights.to_keras(ours)))

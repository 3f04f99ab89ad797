"""What layers add to the kernels: checks, what is kept for backward, gradients written or added, printouts."""

import numpy as np
import pytest
import torch

from alexnet_np import layers

devices = pytest.mark.parametrize("device", ["reference", "cpu"])


def make(name, device="cpu", dtype="float32"):
    rng = np.random.default_rng(0)
    layer = {
        "Conv2d": lambda: layers.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), groups=2, rng=rng),
        "MaxPool2d": lambda: layers.MaxPool2d(3, stride=2, padding=1),
        "AdaptiveAvgPool2d": lambda: layers.AdaptiveAvgPool2d((3, 2)),
        "LocalResponseNorm": lambda: layers.LocalResponseNorm(3, groups=2),
        "ReLU": lambda: layers.ReLU(inplace=True),
        "Dropout": lambda: layers.Dropout(0.5, rng=rng),
        "Flatten": lambda: layers.Flatten(),
        "Linear": lambda: layers.Linear(7, 5, rng=rng),
        "Softmax": lambda: layers.Softmax(),
        "Sequential": lambda: layers.Sequential(layers.ReLU(), layers.Flatten(), layers.Linear(7 * 8 * 4, 3, rng=rng)),
    }[name]()
    return layer.to(device, dtype)


NAMES = ["Conv2d", "MaxPool2d", "AdaptiveAvgPool2d", "LocalResponseNorm", "ReLU", "Dropout", "Flatten", "Linear"]
NAMES += ["Softmax", "Sequential"]

every_layer = pytest.mark.parametrize("name", NAMES)


def example(name, N=2, dtype="float32"):
    """An input for the layer: images of 7x8 pixels and 4 channels, or vectors."""
    shape = (N, 7) if name in ("Linear", "Softmax") else (N, 7, 8, 4)
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def like(y):
    return np.random.default_rng(2).standard_normal(y.shape).astype(y.dtype)


# ---- backward belongs to one forward


@every_layer
def test_each_forward_serves_one_backward(name):
    layer, x = make(name), example(name)
    dy = like(layer.forward(x))
    layer.backward(dy)
    with pytest.raises(RuntimeError, match=r"a forward before it, and each forward serves one backward"):
        layer.backward(dy)
    assert not layer.has_saved


@every_layer
def test_dy_must_be_as_y_is(name):
    """After a refusal, the right dy is still welcome."""
    layer, x = make(name), example(name)
    y = layer.forward(x)
    dy = like(y)
    with pytest.raises(ValueError, match=r"dy: expected shape \(2, .*\), got \(3, "):
        layer.backward(np.concatenate([dy, dy[:1]]))
    with pytest.raises(TypeError, match="dy: expected dtype float32, got float64"):
        layer.backward(dy.astype(np.float64))
    with pytest.raises(TypeError, match="dy: expected a numpy array, got list"):
        layer.backward(dy.tolist())
    assert layer.backward(dy).shape == x.shape


@devices
@every_layer
def test_gradients_are_written_and_added_only_where_asked(name, device):
    layer, x = make(name, device), example(name)
    for p in layer.parameters():
        assert p.grad is None
    dy = like(layer.forward(x))
    dx = layer.backward(dy)
    once = [p.grad.copy() for p in layer.parameters()]
    for accumulate, factor in ((False, 1), (True, 2), (True, 3), (False, 1)):
        layer.forward(x)
        np.testing.assert_allclose(layer.backward(dy, accumulate=accumulate), dx)
        for p, grad in zip(layer.parameters(), once, strict=True):
            np.testing.assert_allclose(p.grad, factor * grad, rtol=1e-6)


@devices
@pytest.mark.parametrize("name", ["Conv2d", "Linear"])
def test_without_input_grad_parameters_get_the_same_gradients(name, device):
    layer, x = make(name, device), example(name)
    dy = like(layer.forward(x))
    layer.backward(dy)
    expected = [p.grad for p in layer.parameters()]
    layer.forward(x)
    assert layer.backward(dy, input_grad=False) is None
    for p, grad in zip(layer.parameters(), expected, strict=True):
        np.testing.assert_array_equal(p.grad, grad)


def test_inference_keeps_nothing():
    net = layers.Sequential(*(make(name) for name in ("Conv2d", "ReLU", "MaxPool2d", "Dropout", "Flatten")))
    y = net.forward(example("Conv2d"))
    assert net.has_saved
    net.forward(example("Conv2d"), keep=False)
    assert not any(layer.has_saved for _, layer in net.walk())
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        net.backward(like(y))


@devices
@every_layer
def test_inputs_and_parameters_are_never_written(name, device):
    """``inplace`` is a word about what lies between layers, not about what the caller passes in."""
    layer, x = make(name, device), example(name)
    before = [x.copy(), *(p.data.copy() for p in layer.parameters())]
    y = layer.forward(x, training=True)
    dy = like(y)
    kept = dy.copy()
    layer.backward(dy)
    np.testing.assert_array_equal(dy, kept)
    for array, expected in zip([x, *(p.data for p in layer.parameters())], before, strict=True):
        np.testing.assert_array_equal(array, expected)


@devices
@every_layer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_and_order_stay(name, device, dtype):
    layer, x = make(name, device, dtype), example(name, dtype=dtype)
    y = layer.forward(x, training=True)
    dx = layer.backward(like(y))
    for array in (y, dx, *(p.grad for p in layer.parameters())):
        assert array.dtype == dtype
        assert array.flags.c_contiguous


@devices
@every_layer
def test_an_empty_batch_gives_an_empty_result_and_zero_gradients(name, device):
    """As in torch."""
    layer, x = make(name, device), example(name, N=0)
    y = layer.forward(x, training=True)
    assert y.shape == layer.output_shape(x.shape)
    assert y.shape[0] == 0
    assert layer.backward(y).shape == x.shape
    for p in layer.parameters():
        np.testing.assert_array_equal(p.grad, np.zeros_like(p.data))


@every_layer
def test_shapes_are_known_without_computing(name):
    layer, x = make(name), example(name)
    assert layer.output_shape(x.shape) == layer.forward(x).shape


def test_multiply_adds_by_hand():
    assert make("Conv2d").macs((2, 7, 8, 4)) == 2 * (4 * 4 * 6) * (3 * 2 * 2)  # outputs, terms of each
    assert make("Linear").macs((2, 7)) == 2 * 5 * 7
    assert make("Sequential").macs((2, 7, 8, 4)) == 2 * 3 * (7 * 8 * 4)


# ---- bad input


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (layers.Conv2d(64, 192, 5), (8, 27, 27, 3), "Conv2d(64, 192): expected (N, H, W, 64), got (8, 27, 27, 3)"),
        (layers.Conv2d(64, 192, 5), (27, 27, 64), "Conv2d(64, 192): expected (N, H, W, 64), got (27, 27, 64)"),
        (
            layers.Conv2d(3, 8, (5, 2), padding=(1, 0)),
            (1, 2, 9, 3),
            "Conv2d(3, 8): a window of (5, 2) does not fit into an image of (2, 9) with padding (1, 0)",
        ),
        (
            layers.MaxPool2d(3, 2),
            (1, 9, 2, 3),
            "MaxPool2d(kernel_size=3, stride=2, padding=0, dilation=1, ceil_mode=False): "
            "a window of (3, 3) does not fit into an image of (9, 2) with padding (0, 0)",
        ),
        (
            layers.AdaptiveAvgPool2d(6),
            (2, 36),
            "AdaptiveAvgPool2d(output_size=6): expected (N, H, W, C), got (2, 36)",
        ),
        (
            layers.AdaptiveAvgPool2d(6),
            (2, 0, 3, 3),
            "AdaptiveAvgPool2d(output_size=6): expected an image of at least one pixel, got (2, 0, 3, 3)",
        ),
        (
            layers.LocalResponseNorm(5, groups=2),
            (1, 2, 2, 3),
            "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0, groups=2): "
            "expected channels in a multiple of groups (2), got (1, 2, 2, 3)",
        ),
        (layers.Linear(7, 5), (2, 8), "Linear(7, 5): expected (N, 7), got (2, 8)"),
        (layers.Linear(7, 5), (7,), "Linear(7, 5): expected (N, 7), got (7,)"),
        (layers.Softmax(), (2, 3, 4), "Softmax(dim=1): expected (N, K), got (2, 3, 4)"),
        (layers.Flatten(), (3,), "Flatten(start_dim=1, end_dim=-1): expected (N, ...), got (3,)"),
        (
            layers.Sequential(layers.ReLU(), layers.Linear(7, 5)),
            (2, 8),
            "Linear(7, 5): expected (N, 7), got (2, 8)",
        ),
    ],
)
def test_a_wrong_shape_meets_a_sentence(layer, shape, message):
    for call in (lambda: layer.forward(np.zeros(shape, np.float32)), lambda: layer.output_shape(shape)):
        with pytest.raises(ValueError) as caught:  # noqa: PT011, the whole message follows
            call()
        assert str(caught.value) == message
    assert not layer.has_saved


@every_layer
def test_only_arrays_of_the_device_are_taken(name):
    layer, x = make(name), example(name)
    for other in (x.tolist(), torch.from_numpy(x)):
        with pytest.raises(TypeError, match=rf"on cpu: x: expected a numpy array, got {type(other).__name__}$"):
            layer.forward(other)


@every_layer
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "bool"])
def test_only_real_numbers_of_the_layers_precision_are_taken(name, dtype):
    layer = make(name)
    with pytest.raises(TypeError, match=rf"x: expected dtype float32.*, got {dtype}$"):
        layer.forward(example(name).astype(dtype))


@pytest.mark.parametrize("name", ["Conv2d", "Linear", "Sequential"])
def test_float64_into_float32_weights_is_refused(name):
    with pytest.raises(TypeError, match="x: expected dtype float32, got float64"):
        make(name).forward(example(name, dtype="float64"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.Conv2d(0, 4, 3), "Conv2d: in_channels: expected an integer of at least 1, got 0"),
        (lambda: layers.Conv2d(3, 4.0, 3), "Conv2d: out_channels: expected an integer of at least 1, got 4.0"),
        (lambda: layers.Conv2d(3, 4, 0), "Conv2d: kernel_size: expected an integer of at least 1, got 0"),
        (lambda: layers.Conv2d(3, 4, (3, 3, 3)), "Conv2d: kernel_size: expected an integer or two, got (3, 3, 3)"),
        (lambda: layers.Conv2d(3, 4, 3, stride=0), "Conv2d: stride: expected an integer of at least 1, got 0"),
        (lambda: layers.Conv2d(3, 4, 3, padding=-1), "Conv2d: padding: expected an integer of at least 0, got -1"),
        (
            lambda: layers.Conv2d(3, 4, 3, padding="same"),
            "Conv2d: padding: expected p, (vertical, horizontal) or ((top, bottom), (left, right)), got 'same'",
        ),
        (lambda: layers.Conv2d(3, 4, 3, groups=True), "Conv2d: groups: expected an integer of at least 1, got True"),
        (
            lambda: layers.Conv2d(3, 4, 3, groups=2),
            "Conv2d: in_channels: expected a multiple of groups (2), got 3",
        ),
        (
            lambda: layers.Conv2d(4, 3, 3, groups=2),
            "Conv2d: out_channels: expected a multiple of groups (2), got 3",
        ),
        (
            lambda: layers.Conv2d(3, 4, 3, init="xavier"),
            "init: expected one of torch, keras, paper, zeros or a rule, got 'xavier'",
        ),
        (lambda: layers.Linear(None, 4), "Linear: in_features: expected an integer of at least 1, got None"),
        (lambda: layers.Linear(4, -4), "Linear: out_features: expected an integer of at least 1, got -4"),
        (lambda: layers.Dropout(1.5), "Dropout: p: expected a probability from 0 to 1, got 1.5"),
        (lambda: layers.Dropout("0.5"), "Dropout: p: expected a probability from 0 to 1, got '0.5'"),
        (
            lambda: layers.MaxPool2d(3, padding=2),
            "MaxPool2d: padding: expected at most half of kernel_size (3, 3), got 2",
        ),
        (
            lambda: layers.MaxPool2d((4, 1), padding=((2, 0), (0, 1))),
            "MaxPool2d: padding: expected at most half of kernel_size (4, 1), got ((2, 0), (0, 1))",
        ),
        (lambda: layers.MaxPool2d(3, ties="last"), "MaxPool2d: ties: expected 'first' or 'all', got 'last'"),
        (
            lambda: layers.AdaptiveAvgPool2d((6, None)),
            "AdaptiveAvgPool2d: output_size: expected an integer of at least 1, got None",
        ),
        (
            lambda: layers.LocalResponseNorm(0),
            "LocalResponseNorm: size: expected an integer of at least 1, got 0",
        ),
        (
            lambda: layers.LocalResponseNorm(5, alpha=-1),
            "LocalResponseNorm: alpha: expected a number of at least 0, got -1",
        ),
        (
            lambda: layers.LocalResponseNorm(5, across="time"),
            "LocalResponseNorm: across: expected 'channels' or 'space', got 'time'",
        ),
        (lambda: layers.Sequential(), "Sequential: expected at least one layer, got none"),
    ],
)
def test_a_wrong_argument_meets_a_sentence(call, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the whole message follows
        call()
    assert str(caught.value) == message


def test_numpys_integers_are_integers():
    layer = layers.Conv2d(np.int64(3), np.uint8(4), np.int32(3), padding=(np.int64(1), 0))
    assert repr(layer) == "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 0))"


# ---- containers


def test_a_container_takes_layers_only():
    with pytest.raises(TypeError, match=r"Sequential: 1: expected a subclass of layers.Layer, got function"):
        layers.Sequential(layers.ReLU(), lambda x: x)


def test_names_are_paths():
    inner = layers.Sequential(layers.Linear(2, 3), layers.ReLU(), layers.Linear(3, 4, bias=False))
    net = layers.Sequential(layers.Flatten(), inner)
    assert [p.name for p in net.parameters()] == ["1.0.weight", "1.0.bias", "1.2.weight"]
    assert [name for name, _ in net.walk()] == ["0", "1.0", "1.1", "1.2"]
    assert net[1] is inner
    assert len(net) == 2
    assert net[-1][0] is inner[0]


@pytest.mark.parametrize("inplace", [False, True])
def test_a_container_is_the_chain_rule(inplace):
    """Layer by layer by hand, with ReLUs that an engine may take together with the layer before, and without."""
    rng = np.random.default_rng(3)
    net = layers.Sequential(
        layers.Conv2d(4, 8, 3, padding=1, rng=rng),
        layers.ReLU(inplace),
        layers.Flatten(),
        layers.Linear(7 * 8 * 8, 6, rng=rng),
        layers.ReLU(inplace),
        layers.Linear(6, 5, bias=False, rng=rng),
    )
    x = example("Conv2d")
    net.to("reference")
    y = x
    for layer in net:
        y = layer.forward(y)
    dy = like(y)
    dx = dy
    for layer in reversed(list(net)):
        dx = layer.backward(dx)
    grads = [p.grad for p in net.parameters()]
    for device in ("reference", "cpu"):
        net.to(device)
        np.testing.assert_allclose(net.forward(x), y, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(net.backward(dy), dx, rtol=1e-4, atol=1e-6)
        for p, grad in zip(net.parameters(), grads, strict=True):
            np.testing.assert_allclose(p.grad, grad, rtol=1e-4, atol=1e-6)


# ---- dropout


@devices
def test_dropout_drops_a_share_p_and_keeps_the_mean(device):
    layer = layers.Dropout(0.3, rng=np.random.default_rng(0)).to(device)
    x = np.ones((400, 250), np.float32)
    y = layer.forward(x, training=True)
    # 100,000 draws: the share's standard deviation is 0.0014.
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.006)
    np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-6)
    for axis in (0, 1):  # dropped one by one, not by rows or columns
        assert (y == 0).mean(axis=axis).max() < 0.5
    np.testing.assert_array_equal(layer.backward(x), y)
    assert not np.array_equal(layer.forward(x, training=True), y)


@devices
def test_dropout_is_the_identity_outside_training(device):
    layer, x = layers.Dropout(0.3).to(device), example("Dropout")
    np.testing.assert_array_equal(layer.forward(x), x)
    np.testing.assert_array_equal(layer.backward(x), x)


@devices
def test_dropout_of_2012_scales_outside_training(device):
    layer = layers.Dropout(0.3, inverted=False, rng=np.random.default_rng(0)).to(device)
    x = example("Dropout")
    y = layer.forward(x, training=True)
    kept = y != 0
    assert 0.5 < kept.mean() < 0.9
    np.testing.assert_array_equal(y, np.where(kept, x, 0))
    np.testing.assert_array_equal(layer.backward(x), y)
    np.testing.assert_allclose(layer.forward(x), 0.7 * x, rtol=1e-6)
    np.testing.assert_allclose(layer.backward(x), 0.7 * x, rtol=1e-6)


@devices
@pytest.mark.parametrize(("p", "factor"), [(0, 1), (1, 0)])
@pytest.mark.parametrize("inverted", [True, False])
def test_dropout_of_nothing_and_of_everything(device, p, factor, inverted):
    layer, x = layers.Dropout(p, inverted=inverted).to(device), example("Dropout")
    np.testing.assert_array_equal(layer.forward(x, training=True), factor * x)
    np.testing.assert_array_equal(layer.backward(x), factor * x)


def test_the_same_seed_draws_the_same_masks_on_every_device():
    x = example("Dropout")
    masks = [
        [layer.forward(x, training=True) for _ in range(2)]
        for layer in (
            layers.Dropout(0.5, rng=np.random.default_rng(5)).to("reference"),
            layers.Dropout(0.5, rng=np.random.default_rng(5)).to("cpu"),
        )
    ]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0][0], masks[0][1])


# ---- printouts


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("Conv2d", (3, 64, 11), {"stride": 4, "padding": 2}),
        ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (0, 1), "groups": 2, "bias": False}),
        ("MaxPool2d", (3,), {}),
        ("MaxPool2d", ((3, 2), (2, 1), (1, 0)), {"ceil_mode": True}),
        ("AdaptiveAvgPool2d", ((6, 5),), {}),
        ("AdaptiveAvgPool2d", (6,), {}),
        ("LocalResponseNorm", (5,), {"alpha": 1e-4, "k": 2}),
        ("ReLU", (), {}),
        ("ReLU", (True,), {}),
        ("Dropout", (0.25,), {}),
        ("Dropout", (0.5, True), {}),
        ("Flatten", (), {}),
        ("Linear", (7, 5), {"bias": False}),
    ],
)
def test_print_is_torchs(name, args, kwargs):
    assert repr(getattr(layers, name)(*args, **kwargs)) == repr(getattr(torch.nn, name)(*args, **kwargs))


def test_what_torch_does_not_have_is_printed_too():
    assert repr(layers.MaxPool2d(3, ties="all")).endswith(", ceil_mode=False, ties='all')")
    assert repr(layers.Dropout(inverted=False)) == "Dropout(p=0.5, inplace=False, inverted=False)"
    norm = layers.LocalResponseNorm(5, divide_alpha=False, across="space", groups=2)
    assert (
        repr(norm)
        == "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0, divide_alpha=False, across='space', groups=2)"
    )
    assert "padding=((0, 3), 1)" in repr(layers.Conv2d(3, 4, 3, padding=((0, 3), 1)))

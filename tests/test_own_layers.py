"""Layers of one's own in networks: their forward and backward are called, wherever they stand and on every backend."""

import numpy as np
import onnxruntime
import pytest
import torch
from against_torch import relative_error
from residual import Block, OwnNetwork, Residual, body, residual_network
from small_training import PREPARATION, RECIPE, assert_same, pictures, train, weights_of, without_times

from alexnet_np import gradcheck, layers, metrics, models, optim, summary, weights
from alexnet_np.averaging import WeightAverage
from alexnet_np.inference import Inference
from alexnet_np.layers import Container, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential
from alexnet_np.recipe import Recipe
from alexnet_np.step import NotFiniteError, Step, first_not_finite
from alexnet_np.training import Trainer

devices = pytest.mark.parametrize("device", ["reference", "cpu"])


def images(N=2, size=64, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal((N, size, size, 3)).astype(dtype)


# ---- a residual network against torch's autograd


def torch_residual(net, x, dy):
    """torch's result and gradients, by our names, of the network of residual.py."""
    p = {name: torch.tensor(array, requires_grad=True) for name, array in weights.to_torch(net).items()}
    image = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)

    def conv(y, name, **options):
        return torch.nn.functional.conv2d(y, p[f"{name}.weight"], p[f"{name}.bias"], **options)

    y = torch.relu(conv(image, "0", stride=8))
    y = y + conv(torch.relu(conv(y, "2.0", padding=1)), "2.2", padding=1)
    inner = conv(torch.relu(conv(y, "3.body.0", padding=1)), "3.body.2", padding=1)
    y = p["3.scale"].reshape(-1, 1, 1) * y + inner
    y = torch.max_pool2d(y, 2).flatten(1) @ p["6.weight"].T + p["6.bias"]
    y.backward(torch.tensor(dy))
    return y.detach().numpy(), image.grad.numpy().transpose(0, 2, 3, 1), {n: t.grad.numpy() for n, t in p.items()}


@devices
def test_a_residual_network_has_the_values_and_gradients_of_torch(device):
    net = residual_network().to(device, "float64")
    x = images(dtype="float64")
    y = net.forward(x, training=True)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    dx = net.backward(dy)
    expected_y, expected_dx, expected = torch_residual(net, x, dy)
    assert relative_error(y, expected_y) <= 1e-12
    assert relative_error(dx, expected_dx) <= 1e-12
    image = {"6.weight": (4, 4, 4)}
    for name, p in net.named_parameters():
        grad = weights.layouts.to_torch_layout(p.grad, image.get(name))
        assert relative_error(grad, expected[name]) <= 1e-11, name


@devices
def test_float32_agrees_with_the_reference_backend(device):
    x = images()
    found, expected = residual_network().to(device), residual_network().to("reference", "float64")
    y, expected_y = found.forward(x), expected.forward(x.astype("float64"))
    assert relative_error(y, expected_y) <= 1e-5
    dy = np.random.default_rng(1).standard_normal(y.shape)
    assert relative_error(found.backward(dy.astype("float32")), expected.backward(dy)) <= 1e-4


@pytest.mark.parametrize("make", [residual_network, OwnNetwork])
def test_gradcheck_takes_them(make):
    assert gradcheck.check(make().to("cpu", "float64"), (images(1, dtype="float64"),), training=True).ok


# ---- whoever overrides forward is asked


@pytest.mark.parametrize(
    ("kind", "others", "shape"),
    [
        (Conv2d, [ReLU(inplace=True)], (2, 6, 6, 3)),
        (Conv2d, [ReLU(inplace=True), MaxPool2d(2)], (2, 6, 6, 3)),
        (Linear, [ReLU(inplace=True)], (2, 3)),
    ],
)
@devices
def test_a_subclass_before_a_relu_is_asked(kind, others, shape, device):
    class Own(kind):
        def forward(self, x, training=False):
            return super().forward(x, training) - 5

    layer = Own(3, 4, *([1] if kind is Conv2d else []))
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    y = Sequential(layer, *others).to(device).forward(x)
    np.testing.assert_array_equal(y, np.zeros_like(y))


@devices
@pytest.mark.parametrize("place", [1, 2])
def test_a_subclass_after_a_convolution_is_asked(device, place):
    class Shifted(ReLU):
        def forward(self, x, training=False):
            return super().forward(x, training) + 7

    class Flipped(MaxPool2d):
        def forward(self, x, training=False):
            return super().forward(x, training) + 7

    rng = np.random.default_rng(0)
    after = [Shifted(inplace=True), MaxPool2d(2)] if place == 1 else [ReLU(inplace=True), Flipped(2)]
    net = Sequential(Conv2d(3, 4, 1, rng=rng), *after).to(device)
    assert net.forward(images(1, 4)).min() >= 7


@devices
def test_a_function_on_one_object_is_asked(device):
    net = Sequential(Conv2d(3, 4, 1), ReLU(inplace=True)).to(device)
    net[1].forward = lambda x, training=False: np.full_like(x, 3)
    assert (net.forward(images(1, 4)) == 3).all()


@devices
def test_training_reaches_a_second_argument_of_any_name(device):
    class Noisy(layers.Layer):
        def forward(self, x, train=False):
            return x + 1 if train else x

    class Plain(layers.Layer):
        def forward(self, x):
            return x

    net = Sequential(Noisy(), Plain()).to(device)
    x = np.zeros((1, 2), np.float32)
    assert net.forward(x, training=True).sum() == 2
    assert net.forward(x).sum() == 0


def test_arguments_are_passed_by_their_names_wherever_they_stand():
    class Scaled(layers.Layer):
        def forward(self, x, scale=2.0, training=False, input_grad="unset"):
            self.seen = (scale, training, input_grad)
            return x * scale

        def backward(self, dy, factor=3.0, input_grad=True, accumulate="unset"):
            self.back = (factor, input_grad, accumulate)
            return dy * factor

    class Anything(layers.Layer):
        def forward(self, *args, **options):
            self.seen = (len(args), options)
            return args[0]

        def backward(self, dy, *args):
            self.back = args
            return dy

    class Positional(layers.Layer):
        def forward(self, x, training, /):
            self.seen = training
            return x

        def backward(self, grad, add, /):
            self.back = add
            return grad

    net, x = Sequential(Scaled(), Anything(), Positional()), np.ones((1, 2), np.float32)
    net.backward(net.forward(x, True))
    assert (net[0].seen, net[0].back) == ((2.0, True, True), (3.0, True, False))
    assert net[1].seen == (1, {"training": True, "keep": True, "input_grad": True})
    assert (net[1].back, net[2].seen, net[2].back) == ((False, True), True, False)


def test_a_backward_that_cannot_add_is_refused():
    class Scale(layers.Layer):
        def __init__(self):
            super().__init__()
            self.weight = self.new_parameter("weight", np.ones(2, np.float32))

        def forward(self, x, training=False):
            return self.keep(x * self.weight.data, x)

        def backward(self, dy):
            return self.write_grads(False, dy * self.weight.data, (dy * self.recall(dy)).sum(axis=0))

    net = Sequential(Scale())
    x = np.ones((1, 2), np.float32)
    net.backward(net.forward(x))
    net.forward(x)
    with pytest.raises(TypeError, match="expected a backward that takes accumulate"):
        net.backward(x, accumulate=True)


def test_what_is_kept_ends_at_the_first_layer_that_learns_through_nested_containers():
    net = Sequential(Sequential(Conv2d(3, 4, 1), ReLU()), Residual(*body(4, 0)), Block(Sequential(*body(4, 1)), 4))
    net[0].requires_grad_(False)
    net[1][0].requires_grad_(False)
    net.forward(images(1, 8), input_grad=False)
    assert [name for name, layer in net.walk() if layer.has_saved][:2] == ["1", "1.2"]
    assert net.backward(images(1, 8)[..., :1].repeat(4, axis=3), input_grad=False) is None
    assert [name for name, p in net.named_parameters() if p.grad is None] == [
        "0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias",
    ]  # fmt: skip
    net.forward(images(1, 8), keep=False)
    assert not net.has_saved


def test_a_network_inside_a_sequential_gives_the_gradient_that_is_asked_for():
    inner = models.Network(conv=Conv2d(3, 3, 1), relu=ReLU(inplace=True))
    net = Sequential(Conv2d(3, 3, 1), inner)
    x = images(1, 5)
    assert net.backward(net.forward(x)).shape == x.shape
    assert all(p.grad is not None for p in net.parameters())


# ---- a backward belongs to one forward of all layers


class Failing(layers.Layer):
    def forward(self, x, training=False):
        if x[0, 0] > 0:
            raise KeyboardInterrupt
        return self.keep(x, None)

    def backward(self, dy, accumulate=False, input_grad=True):
        self.recall(dy)
        return dy


@devices
def test_a_backward_after_a_forward_that_failed_is_refused(device):
    net = Sequential(Linear(2, 2), Failing(), Linear(2, 2)).to(device)
    x = -np.ones((1, 2), np.float32)
    net[0].weight.data[...] = np.eye(2)
    net[0].bias.data[...] = 0
    y = net.forward(x)
    with pytest.raises(KeyboardInterrupt):
        net.forward(-x)
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        net.backward(y)


@pytest.mark.parametrize("make", [residual_network, OwnNetwork])
def test_a_step_forgets_what_came_before(make, monkeypatch):
    """Also where a forward of one's own is interrupted between two layers."""
    net = make()
    y = net.forward(images(2))
    last = list(net.walk())[-1][1]
    monkeypatch.setattr(last, "forward", lambda x, training=False: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        net.logits(images(2), training=True)
    assert not last.has_saved
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        net.backward(y)


def test_a_chain_goes_back_only_after_a_forward_of_its_own():
    net = Sequential(Sequential(Linear(2, 3), ReLU(inplace=True)), Sequential(Linear(3, 2)))
    dy = np.ones_like(net.forward(np.ones((1, 2), np.float32)))
    with pytest.raises(RuntimeError, match="Sequential: backward needs a forward before it"):
        net[1].backward(dy)
    net[1].forward(np.ones((1, 3), np.float32))
    np.testing.assert_allclose(net[1].backward(dy), dy @ net[1][0].weight.data.T, rtol=1e-6)


class SavesItself(layers.Layer):
    """Has what backward needs in an attribute of its own, and fails half-way where it is told to."""

    def __init__(self):
        super().__init__()
        self.fails = None
        self.weight = self.new_parameter("weight", np.ones(2, np.float32))

    def forward(self, x, training=False):
        if self.fails == "forward":
            raise KeyboardInterrupt
        self.x = x
        return x * self.weight.data

    def backward(self, dy, accumulate=False, input_grad=True):
        self.weight.write_grad((dy * self.x).sum(axis=0), accumulate)
        if self.fails == "backward":
            raise KeyboardInterrupt
        return dy * self.weight.data


@pytest.mark.parametrize("how", ["failed", "not kept", "taken", "none"])
def test_a_chain_refuses_backward_without_a_forward_whatever_its_layers_saved(how):
    net, x = Sequential(Linear(2, 2), SavesItself()), np.ones((1, 2), np.float32)
    if how != "none":
        net.forward(x, keep=how != "not kept")
    if how == "failed":
        net[1].fails = "forward"
        with pytest.raises(KeyboardInterrupt):
            net.forward(x)
    if how == "taken":
        net.backward(x)
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        net.backward(x)


def test_a_backward_that_fails_in_the_last_layer_leaves_no_gradients():
    net, x = Sequential(Linear(2, 2), SavesItself()), np.ones((1, 2), np.float32)
    net.backward(np.ones_like(net.forward(x)))
    net.forward(x)
    net[1].fails = "backward"
    with pytest.raises(KeyboardInterrupt):
        net.backward(x, accumulate=True)
    assert all(p.grad is None for p in net.parameters())
    assert not net.has_saved
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        net.backward(x)


@pytest.mark.parametrize("last", [SavesItself, lambda: Linear(2, 2)])
def test_after_a_dy_that_is_refused_the_right_one_is_welcome(last):
    net, x = Sequential(Linear(2, 2), last()), np.ones((1, 2), np.float32)
    y = net.forward(x)
    for dy, error, message in (
        (np.ones((1, 3), np.float32), ValueError, r"dy: expected shape \(1, 2\), got \(1, 3\)"),
        (np.ones((1, 2)), TypeError, "dy: expected dtype float32, got float64"),
        ([[1.0, 1.0]], TypeError, "dy: expected a numpy array, got list"),
    ):
        with pytest.raises(error, match=message):
            net.backward(dy)
    assert net.backward(np.ones_like(y)).shape == x.shape


def test_a_container_with_a_forward_of_its_own_and_no_output_shape_says_so():
    class Residue(Sequential):
        def forward(self, x, training=False):
            return x + super().forward(x, training)

        def backward(self, dy, accumulate=False, input_grad=True):
            return dy + super().backward(dy, accumulate, True)

    class Wide(Container):
        def forward(self, x, training=False):
            y = self.children["linear"].forward(x, training)
            return np.concatenate([y, y], axis=1)

        def backward(self, dy, accumulate=False):
            return self.children["linear"].backward(dy[:, :3] + dy[:, 3:], accumulate)

    net = Wide(linear=Linear(2, 3))
    with pytest.raises(
        NotImplementedError, match=r"Wide: output_shape: not known: define output_shape\(shape\) in Wide"
    ):
        net.output_shape((1, 2))
    x, labels = np.ones((2, 2), np.float32), np.array([0, 5])  # classes that the Linear alone has not
    assert Step(net, optim.SGD(net.parameters()))(x, labels)[0] > 0
    with pytest.raises(ValueError, match="labels: expected 0 to 5, got 6"):
        Step(net, optim.SGD(net.parameters()))(x, labels + 1)
    inside = Sequential(Residue(Linear(2, 2)), Linear(2, 3))
    assert Step(inside, optim.SGD(inside.parameters()))(x, np.array([0, 1]))[0] > 0


def test_labels_of_layers_are_their_classes_names():
    class Mine(Linear):
        pass

    class MyConv(Conv2d):
        pass

    for layer in (Mine(3, 4), MyConv(3, 4, 1)):
        with pytest.raises(ValueError, match=rf"{type(layer).__name__}\(3, 4\): expected"):
            layer.forward(np.ones((1, 1), np.float32))


def test_an_input_that_is_refused_leaves_nothing_to_go_back_through():
    net = Sequential(Linear(2, 2))
    y = net.forward(np.ones((1, 2), np.float32))
    with pytest.raises(ValueError, match=r"Linear\(2, 2\): expected"):
        net.forward(np.ones((1, 3), np.float32))
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        net.backward(y)


def test_half_of_a_backward_leaves_no_gradients_to_step_with():
    class Breaking(layers.Layer):
        def forward(self, x, training=False):
            return self.keep(x, None)

        def backward(self, dy, accumulate=False, input_grad=True):
            raise KeyboardInterrupt

    net = Sequential(Linear(2, 2), Breaking(), Linear(2, 2))
    x = np.ones((1, 2), np.float32)
    for p in net.parameters():
        p.grad = np.ones_like(p.data)
    y = net.forward(x)
    with pytest.raises(KeyboardInterrupt):
        net.backward(y, accumulate=True)
    with pytest.raises(RuntimeError, match="has no gradient"):
        optim.SGD(net.parameters()).step()


@pytest.mark.parametrize("how", ["another tree", "replaced", "removed", "inside"])
def test_a_backward_through_other_layers_than_forward_is_refused(how):
    net = Sequential(Linear(2, 2), ReLU(inplace=True), Sequential(Linear(2, 2)), ReLU(inplace=True))
    other = Sequential(*list(net.children.values())[:2])
    x = np.ones((1, 2), np.float32)
    y = net.forward(x)
    if how == "another tree":
        other.forward(2 * x)
    elif how == "replaced":
        net.children["2"] = Linear(2, 2)
    elif how == "removed":
        del net.children["3"]
    else:
        net[2].children["0"] = Linear(2, 2)
    with pytest.raises(RuntimeError, match="backward"):
        net.backward(y)
    assert all(p.grad is None for p in net.parameters())


def test_backward_of_a_layer_that_was_computed_with_its_relu_is_refused():
    net = Sequential(Linear(2, 2), ReLU(inplace=True))
    y = net.forward(np.ones((1, 2), np.float32))
    with pytest.raises(RuntimeError, match=r"forward computed it together with the layers after it \(linear_relu\)"):
        net[0].backward(y)


# ---- training


def trainer_of(net, recipe=RECIPE):
    return Trainer(net, pictures(24), pictures(9, seed=1), PREPARATION, recipe)


@devices
@pytest.mark.parametrize("make", [residual_network, OwnNetwork])
def test_any_container_trains_and_goes_on_from_a_checkpoint_to_the_bit(make, device):
    recipe = Recipe(**{**vars(RECIPE), "ema": 0.9, "accumulate": 2})
    whole = train(trainer_of(make().to(device), recipe))
    begun = train(trainer_of(make().to(device), recipe), 6)
    resumed = trainer_of(make(seed=9).to(device), recipe)
    resumed.resume(begun.checkpoint())
    train(resumed)
    assert_same(weights_of(resumed.net), weights_of(whole.net))
    assert_same(resumed.average.arrays, whole.average.arrays)
    assert without_times(resumed.history) == without_times(whole.history)
    assert not np.array_equal(*(next(iter(net.state_dict().values())) for net in (whole.net, make().to(device))))


def test_a_step_of_a_residual_network_is_that_of_torch():
    net = residual_network().to("cpu", "float64")
    x, labels = images(3, dtype="float64"), np.array([0, 2, 1])
    _, _, before = torch_residual(net, x, np.zeros((3, 3)))
    p = {name: torch.tensor(array) for name, array in weights.to_torch(net).items()}
    logits = torch.tensor(net.forward(x), requires_grad=True)
    torch.nn.functional.cross_entropy(logits, torch.tensor(labels)).backward()
    _, _, grads = torch_residual(net, x, logits.grad.numpy())
    Step(net, optim.SGD(net.parameters(), lr=0.1))(x, labels)
    for name, array in weights.to_torch(net).items():
        assert relative_error(array, p[name].numpy() - 0.1 * grads[name]) <= 1e-11, name
    assert before.keys() == grads.keys()


def test_evaluation_and_inference_of_any_container():
    net = residual_network()
    given = [(images(4), np.array([0, 1, 2, 0]))]
    result = metrics.evaluate(net, given)
    answers = Inference(net)(given[0][0]).argmax(axis=1)
    assert result.confusion.shape == (3, 3)
    assert result.top1 == (answers == given[0][1]).mean()


class Noise(layers.Layer):
    """Adds random numbers in training: a generator that is no dropout's."""

    def __init__(self):
        super().__init__()
        self.noise = np.random.default_rng(5)

    def forward(self, x, training=False):
        noise = self.noise.standard_normal(x.shape, dtype=np.float32) if training else 0
        return self.keep(x + noise, None)

    def backward(self, dy, accumulate=False, input_grad=True):
        self.recall(dy)
        return dy


def test_the_generators_of_own_layers_are_in_a_checkpoint():
    def make(seed=0):
        net = residual_network(seed)
        net.children["4"] = Sequential(Noise(), MaxPool2d(2))
        return net

    whole, begun = train(trainer_of(make())), train(trainer_of(make()), 5)
    resumed = trainer_of(make())
    resumed.resume(begun.checkpoint())
    assert_same(weights_of(train(resumed).net), weights_of(whole.net))


def test_a_container_that_ends_in_softmax_has_logits():
    body_ = [Flatten(), Linear(12, 3, rng=np.random.default_rng(0))]
    net, same = Sequential(*body_, layers.Softmax()), Sequential(*body_)
    x = images(2, 2)
    np.testing.assert_allclose(net.forward(x).sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(net.logits(x), same.forward(x))
    dy = np.random.default_rng(1).standard_normal((2, 3)).astype("float32")
    expected = same.backward(dy)
    net.logits(x)
    np.testing.assert_array_equal(net.backward(dy), expected)
    assert net.num_classes == 3


@pytest.mark.parametrize("how", ["subclass", "own forward"])
def test_logits_that_are_not_known_are_refused(how):
    class LogSoftmax(layers.Softmax):
        def forward(self, x, training=False):
            return np.log(super().forward(x, training))

    class Own(Sequential):
        def forward(self, x, training=False):
            return super().forward(x, training)

    end = LogSoftmax() if how == "subclass" else layers.Softmax()
    net = (Sequential if how == "subclass" else Own)(Linear(4, 3), end)
    with pytest.raises(TypeError, match=r"define logits\(x, training, keep, input_grad\)"):
        net.logits(np.zeros((1, 4), np.float32))


@pytest.mark.parametrize("where", ["weights", "block"])
def test_nan_is_found_in_own_layers(where):
    net = residual_network()
    x, labels = images(2), np.array([0, 1])
    sgd = optim.SGD(net.parameters())
    if where == "weights":
        net[3].body[2].weight.data[0] = np.nan
        expected = r"in 3\.body\.2\.weight"
    else:
        net[3].scale.data[...] = 3e38
        net[2][2].bias.data[...] = 1e5
        expected = "forward pass of 3, Block"
    before = weights_of(net)
    with pytest.raises(NotFiniteError, match=expected):
        Step(net, sgd)(x, labels)
    assert_same(weights_of(net), before)
    assert not net.has_saved
    assert all(p.grad is None for p in net.parameters())


def test_infinity_in_any_gradient_of_an_own_layer_is_seen():
    class Odd(layers.Layer):
        """The gradient of the first of two parameters is infinite, and dx is fine."""

        def __init__(self):
            super().__init__()
            self.a = self.new_parameter("a", np.ones(1, np.float32))
            self.b = self.new_parameter("b", np.ones(1, np.float32))

        def forward(self, x, training=False):
            return self.keep(x, None)

        def backward(self, dy, accumulate=False, input_grad=True):
            self.recall(dy)
            return self.write_grads(accumulate, dy, np.full(1, np.inf, np.float32), np.ones(1, np.float32))

    net = Sequential(Flatten(), Linear(12, 3), Odd())
    with pytest.raises(NotFiniteError, match="backward pass of 2, Odd"):
        Step(net, optim.SGD(net.parameters()))(images(2, 2), np.array([0, 1]))
    assert first_not_finite(Sequential(Flatten(), Linear(12, 3)), images(2, 2), np.array([0, 1])) is None


def test_a_step_that_fails_leaves_masks_weights_and_no_gradients():
    net = Sequential(Flatten(), layers.Dropout(0.5, rng=np.random.default_rng(0)), Linear(12, 3), Linear(3, 3))
    step = Step(net, optim.SGD(net.parameters()), parts=2)
    state = net[1].rng.bit_generator.state
    calls = iter([False, True])
    backward = net[2].backward

    def interrupted(*args, **options):
        if next(calls):
            raise KeyboardInterrupt
        return backward(*args, **options)

    net[2].backward = interrupted
    before = weights_of(net)
    with pytest.raises(KeyboardInterrupt):  # in the second part of the batch
        step(images(2, 2), np.array([0, 1]))
    assert net[1].rng.bit_generator.state == state
    assert_same(weights_of(net), before)
    assert all(p.grad is None for p in net.parameters())


def test_step_takes_containers_only_and_all_that_learns():
    with pytest.raises(TypeError, match="Step: net: expected a network or another Container, got Linear"):
        Step(Linear(2, 2), optim.SGD(Linear(2, 2).parameters()))
    net = residual_network()
    sgd = optim.SGD(net.parameters())
    step = Step(net, sgd)
    net.children["6"] = Linear(64, 2)
    for call in (lambda: Step(net, sgd), lambda: step(images(2), np.array([0, 1]))):
        with pytest.raises(ValueError, match=r"but 6\.weight, 6\.bias is not among its own: make the optimizer from"):
            call()
    net[6].requires_grad_(False)
    with pytest.raises(ValueError, match=r"got 6\.weight, 6\.bias of a layer that is not in it: make the optimizer"):
        step(images(2), np.array([0, 1]))
    loss, _ = Step(net, optim.SGD(net.parameters()))(images(2), np.array([0, 1]))
    assert loss > 0


def test_an_average_is_left_alone_where_the_network_has_other_layers():
    net = residual_network()
    average = WeightAverage(net, 0.9)
    average.update()
    before = {name: array.copy() for name, array in average.arrays.items()}
    net.children["6"] = Linear(64, 2)
    with pytest.raises(ValueError, match=r"got others for 6\.bias, 6\.weight: make a new WeightAverage"):
        average.update()
    assert_same(average.arrays, before)
    assert average.steps == 1
    weights_now = weights_of(net)
    with pytest.raises(ValueError, match="make a new WeightAverage"), average.in_place():
        pass
    assert_same(weights_of(net), weights_now)


def test_an_average_follows_a_network_that_moves():
    net = residual_network()
    average = WeightAverage(net, 0.9)
    with average.in_place():
        net.to("reference", "float64")
    assert {p.data.dtype.name for p in net.parameters()} == {"float64"}
    average.update()
    assert {array.dtype.name for array in average.arrays.values()} == {"float64"}


# ---- ONNX and summaries


def run_onnx(net, path, x):
    weights.export_onnx(net, path, x.shape[1:3])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (value,) = session.run(None, {"images": np.ascontiguousarray(x.transpose(0, 3, 1, 2))})
    return value


def test_layers_with_to_onnx_are_exported(tmp_path):
    net, x = residual_network(), images(3)
    assert relative_error(run_onnx(net, tmp_path / "net.onnx", x), net.forward(x, keep=False)) <= 1e-5


@pytest.mark.parametrize("between", [[], [ReLU()], [layers.Softmax()]])
def test_what_is_flattened_need_not_be_square(between, tmp_path):
    """4 x 16 pixels are as many as 8 x 8: the order of the weights shows in the values only."""
    net = Sequential(Conv2d(3, 2, 1), Flatten(), *between, Linear(128, 3))
    x = np.random.default_rng(0).standard_normal((2, 4, 16, 3)).astype("float32")
    assert relative_error(run_onnx(net, tmp_path / "net.onnx", x), net.forward(x, keep=False)) <= 1e-5


def test_a_layer_without_to_onnx_is_refused(tmp_path):
    class Own(ReLU):
        def forward(self, x, training=False):
            return super().forward(x, training) + 1

    class Outer(Residual):
        """Inherits to_onnx, but computes something else."""

        def forward(self, x, training=False, keep=True, input_grad=True):
            return 2 * super().forward(x, training, keep, input_grad)

    for layer in (Own(), Outer(*body(3, 0))):
        net = Sequential(layer, Flatten(), Linear(48, 3))
        name = type(layer).__name__
        with pytest.raises(TypeError, match=rf"export_onnx: {name}: expected .*: define to_onnx\(graph, x, shape\)"):
            weights.export_onnx(net, tmp_path / "net.onnx", (4, 4))
    assert list(tmp_path.iterdir()) == []


def test_a_summary_has_one_row_for_a_layer_with_its_own_forward():
    class Halved(Conv2d):
        def forward(self, x, training=False):
            return super().forward(x[:, ::2, ::2], training)

        def output_shape(self, shape):
            N, H, W, C = shape
            return super().output_shape((N, H // 2, W // 2, C))

    net = residual_network()
    net.children["0"] = Halved(3, 4, 4, stride=4)
    rows = summary.rows(net, (2, 64, 64, 3))
    assert [row.layer for row in rows] == ["Halved", "ReLU", "Residual", "Block", "MaxPool2d", "Flatten", "Linear"]
    convolution = 4 * 4 * 9 + 4
    assert [row.parameters for row in rows] == [196, 0, 2 * convolution, 2 * convolution + 4, 0, 0, 195]
    assert [row.macs for row in rows] == [None, 0, 2 * 2 * 64 * 4 * 4 * 9, None, 0, 0, 2 * 192]
    assert "?" in summary.costs(net, (2, 64, 64, 3))
    assert "Residual-3" in summary.torchsummary(net, (3, 64, 64))
    assert "block (Block)" in summary.keras(net, (64, 64, 3))
    assert summary.algorithms(net, (2, 64, 64, 3)).count("\n") == 0  # of what is inside no input is known


def test_keras_files_hold_no_layers_that_keras_has_not(tmp_path):
    with pytest.raises(TypeError, match="weights: Keras's files: 2: expected Conv2d or Linear, got Residual"):
        weights.save(residual_network(), tmp_path / "net.weights.h5")
    net = models.alexnet_keras(3, init="zeros")
    net.children["relu"] = layers.LocalResponseNorm(5)
    with pytest.raises(ValueError, match=r"weights: \.keras: relu: expected a layer that Keras has, got LocalResponse"):
        weights.save(net, tmp_path / "net.keras")
    assert list(tmp_path.iterdir()) == []


def test_print_shows_what_is_inside():
    text = repr(Sequential(Block(Sequential(Linear(2, 2)), 2)))
    assert text.splitlines()[:4] == ["Sequential(", "  (0): Block(", "    (body): Sequential(",
                                     "      (0): Linear(in_features=2, out_features=2, bias=True)"]  # fmt: skip


def test_container_has_what_a_network_has():
    net = Container(a=Linear(2, 3)).to("reference", "float64")
    assert (net.device, net.dtype, net.num_classes) == ("reference", np.float64, 3)
    assert list(net.state_dict()) == ["a.weight", "a.bias"]
    net.load_state_dict({"a.weight": np.ones((2, 3)), "a.bias": np.zeros(3)})
    assert net.children["a"].weight.data.sum() == 6
    with pytest.raises(AttributeError, match="num_classes: expected a Linear at the end"):
        _ = Container(a=ReLU()).num_classes


def test_a_network_of_attributes_alone_trains():
    class Net(Container):
        def __init__(self):
            super().__init__()
            self.flatten, self.linear = Flatten(), Linear(12, 3)

        def forward(self, x, training=False):
            return self.linear.forward(self.flatten.forward(x))

        def backward(self, dy, accumulate=False):
            return self.flatten.backward(self.linear.backward(dy, accumulate))

    net = Net()
    step = Step(net, optim.SGD(net.parameters()))
    loss, _ = step(images(2, 2), np.array([0, 1]))
    Net.output_shape = lambda self, shape: shape
    with pytest.raises(
        ValueError, match=r"Net\.output_shape\(.*\): expected \(N, num_classes\), got .* needs an output"
    ):
        step(images(2, 2), np.array([0, 1]))
    assert loss > 0
    assert isinstance(net.logits(images(2, 2), keep=False), np.ndarray)
    assert not net.has_saved


def test_layers_on_several_devices_are_refused():
    net = Sequential(Flatten(), Linear(4, 3)).to("reference")
    net.children["1"] = Linear(4, 3)
    with pytest.raises(
        ValueError, match=r"got Flatten.* on 'reference' and Linear\(4, 3\) on 'cpu': to\(device\) moves"
    ):
        net.forward(np.zeros((1, 4), np.float32))


def test_a_layer_that_forgot_to_call_init_is_told():
    class Forgetful(layers.Layer):
        def __init__(self):
            self.x = 1

    with pytest.raises(TypeError, match=r"Forgetful\.__init__: expected a call of super\(\).__init__\(\)"):
        Sequential(Forgetful())


def test_freezing_layers_that_are_not_there_is_refused():
    with pytest.raises(ValueError, match=r"freeze: expected layers .* 'features', got a network of 0, 2, 3, 6"):
        trainer_of(residual_network(), Recipe(**{**vars(RECIPE), "freeze": "features"}))


def test_a_checkpoint_of_other_generators_changes_nothing():
    begun = train(trainer_of(residual_network()), 2).checkpoint()
    net = residual_network(seed=3)
    net.children["1"] = Sequential(ReLU(), Noise())
    trainer, before = trainer_of(net), weights_of(net)
    with pytest.raises(ValueError, match="expected the states of 1 random generators, got 0"):
        trainer.resume(begun)
    assert_same(weights_of(net), before)


# ---- torch's order of what is flattened


def in_torch(state, name, x):
    """torch's Linear, or 1x1 convolution, of this name."""
    w, b = (torch.tensor(np.ascontiguousarray(state[f"{name}.{kind}"])) for kind in ("weight", "bias"))
    return torch.nn.functional.conv2d(x, w, b) if w.ndim == 4 else torch.nn.functional.linear(x, w, b)


class Squeeze(layers.Layer):
    """x times a factor for each channel, by a Linear on the means: before the Flatten."""

    def __init__(self, channels):
        super().__init__()
        self.fc = Linear(channels, channels)

    def forward(self, x, training=False):
        return x * self.fc.forward(x.mean(axis=(1, 2)), training)[:, None, None]


@pytest.mark.parametrize("pool", [[], [layers.AdaptiveAvgPool2d((2, 3))]])
def test_only_the_linear_after_a_flatten_takes_an_image_in_torchs_order(pool):
    size = 6 if pool else 36
    net = Sequential(
        Conv2d(3, 4, 1), Squeeze(4), *pool, Flatten(), layers.Dropout(), ReLU(), Linear(4 * size, 5), Linear(5, 4)
    )
    x = images(2, 6)
    state, n = {name: array.copy() for name, array in weights.to_torch(net).items()}, len(pool)
    y = in_torch(state, "0", torch.tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2))))
    y = y * in_torch(state, "1.fc", y.mean(dim=(2, 3)))[:, :, None, None]
    if pool:
        y = torch.nn.functional.adaptive_avg_pool2d(y, (2, 3))
    y = in_torch(state, f"{n + 6}", in_torch(state, f"{n + 5}", torch.relu(y.flatten(1))))
    assert relative_error(net.forward(x, keep=False), y.numpy()) <= 1e-5
    other = {name: np.zeros_like(array) for name, array in net.state_dict().items()}
    before = weights_of(net)
    net.load_state_dict(other)
    weights.layouts.load_torch(net, state)
    assert_same(weights_of(net), before)


@pytest.mark.parametrize("how", ["two heads", "flatten inside", "between"])
def test_an_order_that_is_not_known_is_refused(how):
    class Own(layers.Layer):
        def __init__(self, *inside):
            super().__init__()
            for i, layer in enumerate(inside):
                setattr(self, f"layer{i}", layer)

    end = {
        "two heads": [Flatten(), Own(Linear(144, 2), Linear(144, 3))],
        "flatten inside": [Own(Flatten(), Linear(144, 2))],
        "between": [Flatten(), Own(), Linear(144, 2)],
    }[how]
    with pytest.raises(ValueError, match=r"weights: \d, Own, (takes a flattened image|has a Flatten inside): expected"):
        weights.to_torch(Sequential(Conv2d(3, 4, 1), *end))


def test_what_is_no_network_or_state_meets_a_sentence(tmp_path):
    net = Sequential(Flatten(), Linear(PREPARATION.size**2 * 3, 3))
    for state in (None, [1, 2]):
        with pytest.raises(TypeError, match="state dict: expected a dict of names and arrays, got"):
            net.load_state_dict(state)
    with pytest.raises(TypeError, match="evaluate: net: expected a network or another Container, got Linear"):
        metrics.evaluate(net[1], [])
    description = weights.Description("alexnet", None, ["a", "b"], PREPARATION)
    with pytest.raises(ValueError, match="classes: expected 3 names, got 2"):
        weights.save(net, tmp_path / "a.safetensors", description)
    net.children["2"] = Noise()  # nobody knows how many classes that gives
    weights.save(net, tmp_path / "a.safetensors", description)

"""The tree of a network: every layer and parameter is in it once, under a name that the tree says as it is now."""

import copy
import pickle

import numpy as np
import onnxruntime
import pytest
import torch
from against_torch import relative_error
from residual import Block, body, residual_network
from torchvision_import import import_torchvision

from alexnet_np import layers, models, optim, weights
from alexnet_np.layers import Container, Conv2d, Flatten, Linear, ReLU, Sequential


def of(*attributes, **named):
    """A layer with these attributes."""
    layer = layers.Layer()
    for name, value in (dict(enumerate(attributes)) | named).items():
        setattr(layer, str(name), value)
    return layer


# ---- sublayers


def test_layers_that_are_attributes_belong_to_the_layer():
    block = Block(Sequential(*body(3, 0)), 3)
    assert [name for name, _ in block.named_parameters()] == [
        "scale", "body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias",
    ]  # fmt: skip
    assert [p.name for p in block.parameters()] == [name for name, _ in block.named_parameters()]
    assert list(block.children) == ["body"]
    net = Sequential(block).to("reference", "float64")
    assert [name for name, _ in net.walk()] == ["0", "0.body.0", "0.body.1", "0.body.2"]
    assert [name for name, _ in net.steps()] == ["0"]
    assert {layer.backend.device for _, layer in net.walk()} == {"reference"}
    assert {p.data.dtype.name for p in net.parameters()} == {"float64"}
    x = np.ones((1, 4, 4, 3))
    net.forward(x)
    assert block.body[0].has_saved
    net.forget()
    assert not net.has_saved
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in block.parameters())


@pytest.mark.parametrize("holder", [list, tuple, lambda items: dict(enumerate(items)), lambda items: [list(items)]])
def test_a_list_of_layers_is_refused(holder):
    layer = of(blocks=holder([Linear(2, 2), ReLU()]))
    for call in (layer.parameters, lambda: layer.to("cpu"), lambda: Sequential(ReLU(), layer)):
        with pytest.raises(TypeError, match=r"blocks of Layer: .* of layers, .* put them into a layers\.Sequential"):
            call()


def test_a_list_of_layers_that_are_attributes_too_is_a_second_name():
    first, second = Linear(2, 2), ReLU()
    assert len(of(a=first, b=second, order=[first, second]).parameters()) == 2


def test_a_list_of_parameters_is_refused_unless_it_is_listed():
    class Listed(layers.Layer):
        def __init__(self):
            super().__init__()
            self.weights = [self.new_parameter(f"w{i}", np.ones(2)) for i in range(2)]

    with pytest.raises(TypeError, match=r"weights of Listed: .*list of parameters.*list them in parameters\(\)"):
        Listed().parameters()

    class Says(Listed):
        def parameters(self):
            return [*super(Listed, self).parameters(), *self.weights]

    net = Sequential(Says(), Linear(2, 2))
    assert [name for name, _ in net.named_parameters()] == ["0.w0", "0.w1", "1.weight", "1.bias"]


def test_children_of_a_layer_are_its_attributes():
    with pytest.raises(TypeError, match="Layer: children: expected each layer as an attribute of its own"):
        layers.Layer().children = [ReLU()]


def test_a_layer_that_a_chain_never_calls_is_refused():
    class Net(Container):
        pass

    net = Net(body=ReLU())
    net.head = Linear(2, 2)
    with pytest.raises(TypeError, match="Net: head: expected a layer that forward calls: make it one of children"):
        net.forward(np.ones((1, 2), np.float32))
    del net.head
    net.body = Linear(2, 2)  # as in torch
    with pytest.raises(TypeError, match=r"Net: body: .*children\['body'\] = \.\.\. replaces it"):
        net.parameters()
    net.body = net.children["body"]
    assert net.forward(-np.ones((1, 2), np.float32)).sum() == 0


# ---- once


def test_the_same_layer_twice_is_refused_where_the_tree_is_built():
    relu = ReLU()
    with pytest.raises(ValueError, match=r"Sequential: the same layer, ReLU\(\), is '1' and '3': .*make a new one"):
        Sequential(Linear(2, 2), relu, Linear(2, 2), relu)
    with pytest.raises(ValueError, match=r"is '0\.1' and '1\.body'"):
        Sequential(Sequential(Linear(2, 2), relu), of(body=relu))


def test_and_where_it_is_changed_later():
    net = Sequential(Linear(2, 2), ReLU(), Linear(2, 2), ReLU())
    net.children["3"] = net.children["1"]
    for call in (lambda: net.forward(np.ones((1, 2), np.float32)), net.parameters, lambda: net.to("cpu")):
        with pytest.raises(ValueError, match="is '1' and '3'"):
            call()
    net.children["3"] = lambda x: x
    with pytest.raises(TypeError, match=r"Sequential: 3: expected a subclass of layers\.Layer, got function"):
        net.forward(np.ones((1, 2), np.float32))


@pytest.mark.parametrize("holder", [of, lambda: Sequential(Linear(2, 2))])
def test_a_reference_to_a_layer_above_is_ignored(holder):
    layer = holder()
    layer.weight = layer.new_parameter("scale", np.ones(2, np.float32))
    net = Sequential(layer, ReLU())
    before, text = [name for name, _ in net.named_parameters()], repr(net)
    layer.parent = layer.me = net
    assert [name for name, _ in net.named_parameters()] == before
    assert repr(net) == text
    assert "Linear" in text or not isinstance(layer, Sequential)
    assert repr(layer)
    net.to("reference", "float64").forget()
    assert not net.has_saved
    assert not layer.has_saved
    if isinstance(layer, Sequential):
        net.backward(net.forward(np.ones((1, 2))))
        layer.backward(layer.forward(np.ones((1, 2))))


def test_another_name_for_a_layer_or_parameter_below_is_no_second_one():
    class Named(layers.Layer):
        def __init__(self):
            super().__init__()
            self.conv, self.w = Linear(2, 2), None
            self.body = Sequential(self.conv, ReLU())
            self.same = self.body
            self.w = self.conv.weight
            self.scale = self.new_parameter("scale", np.ones(2, np.float32))

        def forward(self, x, training=False):
            return self.keep(self.body.forward(x, training), x)

        def backward(self, dy, accumulate=False, input_grad=True):
            return self.write_grads(accumulate, self.body.backward(dy, accumulate), (dy * self.recall(dy)).sum(axis=0))

    net = Sequential(Named(), Linear(2, 2))
    net.first, net.w = net[0], net[1].weight
    assert [name for name, _ in net.named_parameters()] == [
        "0.scale", "0.body.0.weight", "0.body.0.bias", "1.weight", "1.bias",
    ]  # fmt: skip
    assert [name for name, _ in net.walk()] == ["0", "0.body.0", "0.body.1", "1"]
    assert list(net[0].children) == ["body"]
    x = np.ones((3, 2), np.float32)
    net.backward(np.ones_like(net.forward(x)))
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("how", ["chain", "tied", "below"])
def test_what_two_layers_use_is_refused_before_anything_is_computed(how):
    net = Sequential(Linear(2, 2), Linear(2, 2))
    if how == "chain":
        net.children["1"] = net[0]
    elif how == "tied":
        net[1].weight = net[0].weight
    else:
        net.children["1"] = of(body=net[0])
    with pytest.raises(ValueError, match=r"the same (layer|parameter)"):
        net.forward(np.ones((1, 2), np.float32))


@pytest.mark.parametrize("name", ["steps", "keep", "forget", "backward"])
def test_a_number_that_hides_a_method_is_refused(name):
    layer = Linear(2, 2)
    setattr(layer, name, 3)
    message = rf"Linear: {name}: expected another name for the attribute, for {name} is a method .*, got a int"
    with pytest.raises(TypeError, match=message):
        Sequential(layer)
    layer.__dict__[name] = lambda *arguments: None  # a function takes the place of a method
    Sequential(layer)


def test_parameters_that_are_none_are_refused():
    class Bare(layers.Layer):
        def parameters(self):
            return [np.ones(2)]

    with pytest.raises(TypeError, match=r"Bare\.parameters\(\): expected a list of Parameter .*, got a ndarray in it"):
        Sequential(Bare()).named_parameters()


def test_the_same_parameter_twice_is_refused():
    net = Sequential(Linear(2, 2), Linear(2, 2))
    net[1].weight = net[0].weight
    with pytest.raises(ValueError, match=r"the same parameter is '0\.weight' and '1\.weight'"):
        net.parameters()


def test_two_parameters_of_one_name_are_refused():
    layer = layers.Layer()
    layer.a, layer.b = (layer.new_parameter("weight", np.ones(2)) for _ in range(2))
    with pytest.raises(ValueError, match=r"two parameters are called '0\.weight'"):
        Sequential(layer).state_dict()


def test_a_feature_extractor_shares_layers_and_leaves_names_alone():
    net = models.alexnet(num_classes=2, init="zeros")
    names = [p.name for p in net.parameters()]
    extractor = Sequential(*net.children["features"].children.values())
    assert [p.name for p in net.parameters()] == names
    assert [p.name for p in extractor.parameters()] == names[:10]  # those of the larger network
    assert [name for name, _ in extractor.named_parameters()][:2] == ["0.weight", "0.bias"]
    assert list(net.state_dict()) == list(net.torch_state_dict()) == names
    x = np.random.default_rng(0).standard_normal((1, 64, 64, 3)).astype("float32")
    features = net.children["features"].forward(x, keep=False)
    np.testing.assert_array_equal(extractor.forward(x, keep=False), features)


def test_names_of_the_larger_network_stay():
    net = models.alexnet(num_classes=2, init="zeros")
    names = [p.name for p in net.parameters()]
    for p in net.children["features"].parameters():
        p.requires_grad = False
    assert [p.name for p in net.parameters()] == names
    assert net.children["classifier"].parameters()[0].name == "classifier.1.weight"


def test_an_optimizer_keeps_the_names_that_it_began_with():
    net = residual_network()
    sgd = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net.children["2"].parameters()
    x = np.ones((1, 64, 64, 3), np.float32)
    net.backward(net.forward(x))
    sgd.step()
    assert list(sgd.velocities) == list(net.state_dict())


def test_copies_and_pickles_are_trees_of_their_own():
    net = residual_network()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert list(other.state_dict()) == list(net.state_dict())
        assert all(p is not q for p, q in zip(net.parameters(), other.parameters(), strict=True))


# ---- replaced layers


def torch_with(state, classes, hidden=4096):
    net = import_torchvision().models.alexnet(num_classes=classes)
    net.classifier[4] = torch.nn.Linear(4096, hidden)
    net.classifier[6] = torch.nn.Linear(hidden, classes)
    net.load_state_dict({name: torch.tensor(np.ascontiguousarray(array)) for name, array in state.items()})
    return net.eval()


@pytest.mark.parametrize("both", [False, True])
def test_replaced_layers_are_seen_and_saved(both, tmp_path):
    """In safetensors, as torchvision reads them, and in ONNX."""
    net = models.alexnet(num_classes=10, seed=1)
    hidden = 16 if both else 4096
    if both:
        net.children["classifier"].children["4"] = Linear(4096, hidden)
    net.children["classifier"].children["6"] = Linear(hidden, 2)
    assert net.num_classes == 2
    weights.save(net, tmp_path / "net.safetensors")
    state = weights.read(tmp_path / "net.safetensors")
    assert len(state) == 16
    assert state["classifier.6.weight"].shape == (2, hidden)
    x = np.random.default_rng(0).standard_normal((1, 65, 63, 3)).astype("float32")
    expected = torch_with(state, 2, hidden)(torch.tensor(x.transpose(0, 3, 1, 2).copy())).detach().numpy()
    assert relative_error(net.forward(x, keep=False), expected) <= 1e-4

    weights.export_onnx(net, tmp_path / "net.onnx", (65, 63))
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    (value,) = session.run(None, {"images": x.transpose(0, 3, 1, 2).copy()})
    assert relative_error(value, expected) <= 1e-4


def test_a_layer_alone_may_have_no_path():
    net = Container(only=Linear(2, 3))
    assert list(weights.to_torch(net)) == ["only.weight", "only.bias"]
    assert weights.torch_name("weight") == "weight"


# ---- what is assigned to a parameter


@pytest.mark.parametrize(
    ("assign", "error", "message"),
    [
        (lambda p: setattr(p, "data", np.ones((3, 2), "f")), ValueError,
         r"0\.weight\.data: expected shape \(2, 3\), got \(3, 2\) \(load_torch_state_dict takes torch's layouts\)"),
        (lambda p: setattr(p, "data", [[1.0]]), TypeError, r"data: expected a numpy array of shape \(2, 3\), got list"),
        (lambda p: setattr(p, "data", torch.ones(2, 3)), TypeError, "data: expected a numpy array .*, got Tensor"),
        (lambda p: setattr(p, "data", np.ones((2, 3))), TypeError, r"expected dtype float32, got float64 \(layer\.to"),
        (lambda p: setattr(p, "grad", np.ones(3, "f")), ValueError, r"grad: expected shape \(2, 3\), got \(3,\)"),
        (lambda p: setattr(p, "grad", np.ones((2, 3))), TypeError, "grad: expected dtype float32, got float64"),
        (lambda p: p.write_grad(np.ones(3, "f"), accumulate=True), ValueError, r"expected shape \(2, 3\), got \(3,\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_parameter_is_refused(assign, error, message):
    net = Sequential(Linear(2, 3))
    p = net.parameters()[0]
    p.grad = np.zeros_like(p.data)
    data, grad = p.data, p.grad
    with pytest.raises(error, match=message):
        assign(p)
    assert p.data is data
    assert p.grad is grad


def test_a_gradient_that_was_resized_is_refused_before_anything_is_changed():
    """On "cpu" it would be read beyond its end."""
    layer = Linear(64, 64, init="zeros")
    for p in layer.parameters():
        p.grad = np.ones_like(p.data)
    layer.bias.grad.resize(32, refcheck=False)
    with pytest.raises(ValueError, match=r"SGD: bias: grad: expected float32 of shape \(64,\) as data, got .* \(32,\)"):
        optim.SGD(layer.parameters(), lr=1.0).step()
    assert not layer.weight.data.any()


def test_write_grads_takes_a_gradient_for_each_parameter():
    layer = Linear(2, 3)
    dw, db = (np.zeros_like(p.data) for p in layer.parameters())
    for grads in ((dw,), (dw, db, db)):
        with pytest.raises(ValueError, match="write_grads: expected a gradient for each of weight, bias, got"):
            layer.write_grads(False, None, *grads)


def test_scalars_stay_scalars():
    class Shift(layers.Layer):
        def __init__(self):
            super().__init__()
            self.shift = self.new_parameter("shift", np.zeros((), np.float32))

        def forward(self, x, training=False):
            return self.keep(x + self.shift.data, None)

        def backward(self, dy, accumulate=False, input_grad=True):
            self.recall(dy)
            return self.write_grads(accumulate, dy, dy.sum())

    net = Sequential(Flatten(), Shift()).to("cpu", "float32")
    net.backward(np.ones_like(net.forward(np.ones((2, 3), np.float32))))
    optim.SGD(net.parameters(), lr=0.5, momentum=0.9).step()
    assert net[1].shift.data.shape == ()
    assert net[1].shift.data == -3


def test_a_conv_in_a_new_place_is_known_by_its_place():
    first, second = Sequential(Conv2d(3, 3, 1)), Sequential(ReLU())
    second.children["1"] = first.children.pop("0")
    assert list(second.state_dict()) == ["1.weight", "1.bias"]
    with pytest.raises(ValueError, match="Sequential: children: expected at least one layer, got none"):
        first.forward(np.ones((1, 1, 1, 3), np.float32))

"""alexnet against torchvision.models.alexnet with the same weights: values, gradients, optimiser steps, files.

torch computes in float64 throughout; this project in float64, to 1e-10, and float32, to 1e-4.
"""

import re
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from against_torch import nchw, nhwc, random_weights, relative_error, torch_layout
from torch.nn.functional import cross_entropy
from torchvision_import import import_torchvision

from alexnet_np import losses, models, optim, weights

CLASSES = 10  # where nothing depends on there being 1000

TOLERANCES = {"float64": 1e-10, "float32": 1e-4}


@pytest.fixture(scope="module")
def theirs():
    with torch.device("meta"):  # no memory yet, and no time spent on weights that are filled in below
        net = import_torchvision().models.alexnet(num_classes=CLASSES)
    net = net.to_empty(device="cpu").double().eval()
    random_weights(net, np.random.default_rng(0))
    return net


@pytest.fixture(scope="module")
def ours(theirs):
    net = models.alexnet(num_classes=CLASSES, init="zeros")
    net.load_torch_state_dict(theirs.state_dict())
    return net


class Step:
    """What torch makes of one batch: logits, loss and, in the parameters of its network, all gradients."""

    def __init__(self, net, images, labels):
        self.images, self.labels = images, labels
        x = nchw(images).requires_grad_()
        net.zero_grad()
        logits = net(x)
        loss = cross_entropy(logits, torch.from_numpy(labels))
        loss.backward()
        self.logits, self.loss, self.input_grad = logits.detach().numpy(), loss.item(), nhwc(x.grad)
        self.grads = {name: p.grad for name, p in net.named_parameters()}

    def errors(self, net, training=False):
        """Run the same batch through a network of this project: relative errors of output, loss and all gradients."""
        logits = net.forward(self.images.astype(net.dtype), training)
        loss, dlogits = losses.softmax_cross_entropy(logits, self.labels)
        dx = net.backward(dlogits, input_grad=True)
        assert {logits.dtype, dx.dtype, *(p.grad.dtype for p in net.parameters())} == {net.dtype}
        errors = {
            "output": relative_error(logits, self.logits),
            "loss": relative_error(loss, self.loss),
            "input": relative_error(dx, self.input_grad),
        }
        for p in net.parameters():
            grad = torch_layout(p.grad, (6, 6, 256) if p.name == "classifier.1.weight" else None)
            errors[p.name] = relative_error(grad, self.grads[p.name])
        return errors

    def compare(self, net, training=False):
        errors = self.errors(net, training)
        assert len(errors) == 3 + 16
        tolerance = TOLERANCES[net.dtype.name]
        wrong = {name: error for name, error in errors.items() if not error <= tolerance}
        assert not wrong, f"relative error above {tolerance}: {wrong}"


def distance_from_kinks(net, images):
    """How near any ReLU's input is to 0, or a pooling window's two largest values to each other, for inputs of scale 1.

    Within rounding of a kink either side may be taken, and the gradient jumps: float32 cannot be compared there.
    """
    distances = []

    def relu(module, inputs):
        (x,) = inputs
        distances.append((x.abs().min() / x.std()).item())

    def pool(module, inputs):
        (x,) = inputs
        windows = torch.nn.functional.unfold(x.transpose(0, 1), module.kernel_size, stride=module.stride)
        largest, second = windows.unflatten(1, (-1, 9)).topk(2, dim=2).values.unbind(2)
        gaps = (largest - second)[largest > 0]  # among zeros, the ReLU before stops the gradient
        distances.append((gaps.min() / x.std()).item())

    hooks = {torch.nn.ReLU: relu, torch.nn.MaxPool2d: pool}
    handles = [m.register_forward_pre_hook(hooks[type(m)]) for m in net.modules() if type(m) in hooks]
    with torch.no_grad():
        net(nchw(images))
    for handle in handles:
        handle.remove()
    return min(distances)


def smooth_images(net, number, height, width, first_seed):
    """Images where the network has no kink nearby; ``first_seed`` only saves the search for the first of them."""
    drawn = (
        np.random.default_rng(seed).standard_normal((1, height, width, 3), dtype=np.float32)
        for seed in count(first_seed)
    )
    smooth = (image for image in drawn if distance_from_kinks(net, image) > 1e-5)
    return np.concatenate(list(islice(smooth, number)))


# (images in the batch, height, width, first seed): the sizes of torchvision and of Keras, one that is not square and
# that no window divides, and the smallest that is allowed.
CASES = [(1, 224, 224, 569), (1, 227, 227, 12), (2, 97, 130, 1), (2, 63, 63, 0)]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[1]}x{case[2]}")
def step(request, theirs):
    images = smooth_images(theirs, *request.param)
    return Step(theirs, images, labels=np.array([3, 7])[: len(images)])


# In float64 the cpu book leaves nearly everything to the reference book: the tests below have it on both devices.
@pytest.mark.parametrize(("device", "dtype"), [("reference", "float64"), ("reference", "float32"), ("cpu", "float32")])
def test_values_and_all_gradients_equal_torchvision(ours, step, device, dtype):
    step.compare(ours.to(device, dtype))


def test_training_without_dropout_equals_torchvision(ours, theirs):
    net = models.alexnet(num_classes=CLASSES, dropout=0, init="zeros").to("cpu", "float64")
    net.load_state_dict(ours.state_dict())
    images = np.random.default_rng(1).standard_normal((2, 63, 63, 3))
    theirs.train()
    for module in theirs.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0
    try:
        step = Step(theirs, images, labels=np.array([0, 9]))
    finally:
        theirs.eval()
    step.compare(net, training=True)


@pytest.mark.parametrize("device", ["reference", "cpu"])
def test_training_with_the_same_masks_equals_torchvision(ours, theirs, device):
    """The masks come from a generator that both sides start from one seed; torchvision's see the image as (C, H, W)."""
    p, seed = 0.5, 6
    images = np.random.default_rng(2).standard_normal((2, 63, 63, 3))
    rng = np.random.default_rng(seed)
    masks = [(rng.random((2, size), dtype=np.float32) >= p) / (1 - p) for size in (6 * 6 * 256, 4096)]
    masks[0] = masks[0].reshape(2, 6, 6, 256).transpose(0, 3, 1, 2).reshape(2, -1)

    def masked(mask):
        return lambda module, inputs, output: output * torch.from_numpy(mask.copy())

    dropouts = [theirs.classifier[0], theirs.classifier[3]]
    handles = [module.register_forward_hook(masked(mask)) for module, mask in zip(dropouts, masks, strict=True)]
    step = Step(theirs, images, labels=np.array([4, 1]))
    for handle in handles:
        handle.remove()

    net = ours.to(device, "float64")
    rng = np.random.default_rng(seed)
    for name in ("0", "3"):
        net.children["classifier"].children[name].rng = rng
    step.compare(net, training=True)


def test_optimiser_steps_of_the_whole_network_stay_together(ours, theirs):
    """Three steps: losses and gradients in each, weights in the end. test_optim.py takes ten with a small network."""
    net = ours.to("cpu", "float64")
    before = {name: values.clone() for name, values in theirs.state_dict().items()}
    sgd = optim.SGD(net.parameters(), lr=0.002, momentum=0.9, weight_decay=5e-4)
    torch_sgd = torch.optim.SGD(theirs.parameters(), lr=0.002, momentum=0.9, weight_decay=5e-4)
    rng = np.random.default_rng(3)
    try:
        for _ in range(3):
            step = Step(theirs, rng.standard_normal((2, 63, 63, 3)), rng.integers(CLASSES, size=2))
            step.compare(net)
            torch_sgd.step()
            sgd.step()
        state = net.torch_state_dict()
        for name, values in theirs.state_dict().items():
            assert relative_error(state[name], values) <= 1e-9, name
            assert relative_error(before[name], values) > 1e-5, name
    finally:
        theirs.load_state_dict(before)
        net.load_torch_state_dict(before)


def test_smallest_image_is_torchvisions(ours, theirs):
    image = np.zeros((1, 63, 62, 3))
    with pytest.raises(RuntimeError):
        theirs(nchw(image))
    expected = "AlexNet: expected images (N, H, W, 3) of at least 63x63 pixels, got (1, 63, 62, 3)"
    with pytest.raises(ValueError, match=re.escape(expected)):
        ours.to("reference", "float64").forward(image)


def test_files_go_both_ways(ours, theirs, tmp_path):
    """What one side saves the other loads, and gives the same logits: safetensors, and torch's own two formats."""
    images = np.random.default_rng(5).standard_normal((1, 70, 63, 3), dtype=np.float32)
    expected = theirs(nchw(images)).detach()

    weights.save(ours.to("cpu", "float32"), tmp_path / "ours.safetensors")
    with torch.device("meta"):
        other = import_torchvision().models.alexnet(num_classes=CLASSES).eval()
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "ours.safetensors"), assign=True)
    assert relative_error(other(nchw(images).float()), expected) <= 1e-4
    state = other.state_dict()

    path = tmp_path / "theirs"
    for save in (
        safetensors.torch.save_file,
        torch.save,
        partial(torch.save, _use_new_zipfile_serialization=False),
    ):
        save(state, path)
        net = models.alexnet(num_classes=CLASSES, init="zeros")
        weights.load(net, path)
        assert all(np.array_equal(array, state[name]) for name, array in net.torch_state_dict().items())
        assert relative_error(net.forward(images, keep=False), expected) <= 1e-4


def test_print_is_torchvisions():
    with torch.device("meta"):
        expected = repr(import_torchvision().models.alexnet())
    assert expected + "\n" == (Path(__file__).parent / "expected" / "torch_repr.txt").read_text()
    assert repr(models.alexnet(init="zeros")) == expected

"""alexnet_2012, both variants, against networks put together from torch's modules; and the published counts."""

import numpy as np
import pytest
import torch
from against_torch import nchw, nhwc, random_weights, relative_error, torch_layout
from torch import nn
from torch.nn.functional import avg_pool2d, pad

from alexnet_np import losses, models

CLASSES = 10


class PerTower(nn.Module):
    """A module on each half of the channels by itself."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return torch.cat([self.module(tower) for tower in x.chunk(2, dim=1)], dim=1)


class SpaceNorm(nn.Module):
    """x / (1 + 0.001 * mean of x^2 over the 5x5 pixels around)^0.75: avg_pool2d divides by 25 at the edges too."""

    def forward(self, x):
        return x / (1 + 0.001 * avg_pool2d(x * x, 5, stride=1, padding=2)) ** 0.75


class NotInverted(nn.Module):
    """Dropout as paper and code have it, outside training: everything times 1 - p."""

    def forward(self, x):
        return x * 0.5


def towers(variant):
    """What comes before the linear layers."""
    if variant == "paper":
        # The paper's formula does not divide alpha by the size; torch does.
        norm = nn.LocalResponseNorm(5, alpha=1e-4 * 5, beta=0.75, k=2)
        first = [nn.ReLU(), norm, nn.MaxPool2d(3, 2)]
        second = [nn.ReLU(), norm, nn.MaxPool2d(3, 2)]
        last = [nn.ReLU(), nn.MaxPool2d(3, 2)]
    else:
        norm = PerTower(nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2))
        first = [norm, nn.MaxPool2d(3, 2), nn.ReLU()]
        second = [nn.ReLU(), norm, SpaceNorm(), nn.MaxPool2d(3, 2)]
        last = [nn.MaxPool2d(3, 2), nn.ReLU()]
    return [
        *[nn.Conv2d(3, 96, 11, stride=4), *first],
        *[nn.Conv2d(96, 256, 5, padding=2, groups=2), *second],
        *[nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()],
        *[nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()],
        *[nn.Conv2d(384, 256, 3, padding=1, groups=2), *last],
    ]


def torch_alexnet_2012(variant):
    with torch.device("meta"):  # the weights are filled in below
        net = nn.Sequential(
            *towers(variant),
            nn.Flatten(),
            *[nn.Linear(9216, 4096), nn.ReLU(), NotInverted()],
            *[nn.Linear(4096, 4096), nn.ReLU(), NotInverted()],
            nn.Linear(4096, CLASSES),
        )
    net = net.to_empty(device="cpu").double()
    random_weights(net, np.random.default_rng(0))
    return net


@pytest.fixture(scope="module", params=["paper", "code"])
def pair(request):
    """This project's network and torch's, with the same weights."""
    theirs = torch_alexnet_2012(request.param)
    ours = models.alexnet_2012(request.param, num_classes=CLASSES, init="zeros").to("cpu", "float64")
    names = [p.name for p in ours.parameters()]
    ours.load_torch_state_dict(dict(zip(names, theirs.state_dict().values(), strict=True)))
    return ours, theirs


def test_logits_and_gradients_equal_torch(pair):
    ours, theirs = pair
    ours.to("reference", "float64")
    rng = np.random.default_rng(1)
    # On the scale of real images less their mean: with a variance of 1 the norms would hardly divide by more than k.
    images, labels = 50 * rng.standard_normal((2, 224, 224, 3)), np.array([9, 2])

    x = nchw(images).requires_grad_()
    expected = theirs(pad(x, (0, 3, 0, 3)))  # right and below: 55 windows of 224 pixels
    theirs.zero_grad()
    nn.functional.cross_entropy(expected, torch.from_numpy(labels)).backward()

    logits = ours.forward(images)
    _, dlogits = losses.softmax_cross_entropy(logits, labels)
    dx = ours.backward(dlogits, input_grad=True)

    errors = {"logits": relative_error(logits, expected), "input": relative_error(dx, nhwc(x.grad))}
    first_linear = "classifier.0.weight"
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        errors[p.name] = relative_error(torch_layout(p.grad, (6, 6, 256) if p.name == first_linear else None), q.grad)
    assert not {name: error for name, error in errors.items() if not error <= 1e-10}


def test_the_cpu_engine_says_the_same_in_float32(pair):
    """Logits alone: kinks within rounding would make gradients jump. test_torchvision.py has those, off all kinks."""
    ours, theirs = pair
    images = 50 * np.random.default_rng(5).standard_normal((2, 224, 224, 3), dtype=np.float32)
    logits = ours.to("cpu", "float32").forward(images, keep=False)
    assert relative_error(logits, theirs(pad(nchw(images), (0, 3, 0, 3)))) <= 1e-4


def test_227_pixels_need_no_padding(pair):
    """The windows end with the image: Caffe's geometry, where the padding of 224 is not seen."""
    ours, theirs = pair
    ours.to("reference", "float64")
    images = 50 * np.random.default_rng(2).standard_normal((1, 227, 227, 3))
    assert relative_error(ours.forward(images, keep=False), theirs(nchw(images))) <= 1e-10


def test_dropout_stands_behind_each_hidden_layer(pair):
    """In training, with masks from one seed; the values that stay are left as they are."""
    ours, theirs = pair
    images = 50 * np.random.default_rng(3).standard_normal((1, 224, 224, 3))
    rng = np.random.default_rng(4)
    x = nchw(np.pad(images, ((0, 0), (0, 3), (0, 3), (0, 0))))
    for module in theirs:
        if isinstance(module, NotInverted):
            x = x * torch.from_numpy(rng.random((1, 4096), dtype=np.float32) >= 0.5)
        else:
            x = module(x)

    ours.to("reference", "float64")
    rng = np.random.default_rng(4)
    for name in ("2", "5"):
        ours.children["classifier"].children[name].rng = rng
    assert relative_error(ours.forward(images, training=True, keep=False), x) <= 1e-10


def test_parameters_and_multiply_adds_are_the_published_ones():
    counts = {"alexnet": 61_100_840, "alexnet_keras": 61_100_840, "alexnet_2012": 60_965_224}
    for name, expected in counts.items():
        assert sum(p.data.size for p in getattr(models, name)(init="zeros").parameters()) == expected
    code = models.alexnet_2012("code", init="zeros")
    assert sum(p.data.size for p in code.parameters()) == 60_965_224
    assert code.macs((1, 224, 224, 3)) == models.alexnet_2012(init="zeros").macs((1, 224, 224, 3)) == 724_406_816

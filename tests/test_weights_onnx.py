"""ONNX files: valid by onnx's checker, and ONNX Runtime gives what the network gives, on the same images."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from against_torch import relative_error

from alexnet_np import layers, models, weights

CLASSES = 7


def exported(net, path, size):
    weights.export_onnx(net, path, size)
    onnx.checker.check_model(str(path), full_check=True)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def outputs(session, images):
    (value,) = session.run(None, {"images": np.ascontiguousarray(images.transpose(0, 3, 1, 2))})
    return value


def images(number, height, width):
    return np.random.default_rng(number).standard_normal((number, height, width, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("build", "size", "scale"),
    [
        (models.alexnet, (130, 97), 1),
        (models.alexnet_keras, (227, 227), 1),
        # Pictures minus a mean, as in 2012: the response norms see numbers that they change.
        (lambda **options: models.alexnet_2012("paper", **options), (224, 224), 100),
        (lambda **options: models.alexnet_2012("code", **options), (227, 227), 100),
    ],
    ids=["alexnet", "keras", "2012 paper", "2012 code"],
)
def test_onnx_runtime_gives_what_the_network_gives(build, size, scale, tmp_path):
    net = build(num_classes=CLASSES, init="torch", seed=1)
    session = exported(net, tmp_path / "net.onnx", size)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size > 200e6
    (given,), (taken,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape) == ("images", ["N", 3, *size])
    is_keras = isinstance(net, models.AlexNetKeras)
    assert (taken.name, taken.shape) == ("probabilities" if is_keras else "logits", ["N", CLASSES])
    for number in (1, 2):
        x = scale * images(number, *size)
        assert relative_error(outputs(session, x), net.forward(x, keep=False)) <= 1e-4


NORM = layers.LocalResponseNorm


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2d(6, 4, (3, 2), stride=(2, 3), padding=((0, 2), (1, 0)), groups=2, rng=np.random.default_rng(0)),
        layers.Conv2d(6, 4, 1, bias=False, rng=np.random.default_rng(0)),
        layers.MaxPool2d(3, 2, padding=((1, 0), (0, 1))),
        layers.MaxPool2d((2, 3), ceil_mode=True),
        layers.AdaptiveAvgPool2d((4, 6)),
        layers.AdaptiveAvgPool2d((11, 3)),
        layers.AdaptiveAvgPool2d((11, 8)),
        NORM(3, alpha=0.5, beta=0.6, k=2),
        NORM(5, alpha=0.5, divide_alpha=False),
        NORM(5, alpha=0.5, groups=2),
        NORM(5, alpha=0.5, k=2, across="space"),
        NORM(4, alpha=0.5, across="space", divide_alpha=False),
        layers.Dropout(0.3),
        layers.Dropout(0.3, inverted=False),
    ],
    ids=repr,
)
def test_every_layer(layer, tmp_path):
    """In a geometry that is neither square nor divided by the windows."""
    net = models.Network(first=layers.Conv2d(3, 6, 1, rng=np.random.default_rng(1)), relu=layers.ReLU(), layer=layer)
    session = exported(net, tmp_path / "net.onnx", (11, 8))
    x = 3 * images(2, 11, 8)
    assert relative_error(outputs(session, x).transpose(0, 2, 3, 1), net.forward(x)) <= 1e-5


def test_what_does_not_fit_meets_a_sentence(tmp_path, monkeypatch):
    net = models.alexnet(num_classes=CLASSES, init="zeros")
    path = tmp_path / "net.onnx"
    with pytest.raises(ValueError, match=r"AlexNet: expected images .* of at least 63x63 pixels, got \(1, 62, 70, 3\)"):
        weights.export_onnx(net, path, (62, 70))
    even = models.Network(norm=NORM(4))
    with pytest.raises(ValueError, match=r"export_onnx: expected windows of an odd size, got LocalResponseNorm\(4, "):
        weights.export_onnx(even, path, (5, 5))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'alexnet-np\[onnx\]'"):
        weights.export_onnx(net, path)
    assert list(tmp_path.iterdir()) == []

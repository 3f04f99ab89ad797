"""docs/weights.md shows how to run Caffe's weights: as Caffe's network, written with torch, runs them."""

import re
from pathlib import Path

import numpy as np
import torch
from against_torch import nchw, relative_error
from torch.nn.functional import conv2d, linear, local_response_norm, max_pool2d, relu

PAGE = Path(__file__).parents[1] / "docs" / "weights.md"


def random_blobs(rng):
    shapes = {
        "conv1": (96, 3, 11, 11),
        "conv2": (256, 48, 5, 5),
        "conv3": (384, 256, 3, 3),
        "conv4": (384, 192, 3, 3),
        "conv5": (256, 192, 3, 3),
        "fc6": (4096, 256 * 6 * 6),
        "fc7": (4096, 4096),
        "fc8": (10, 4096),
    }
    return {
        layer: (
            rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:]))),
            rng.standard_normal(shape[0], dtype=np.float32),
        )
        for layer, shape in shapes.items()
    }


def caffe(blobs, bgr):
    """models/bvlc_alexnet/deploy.prototxt up to fc8, for images (N, 3, 227, 227)."""
    t = {layer: [torch.from_numpy(array) for array in pair] for layer, pair in blobs.items()}
    x = relu(conv2d(bgr, *t["conv1"], stride=4))
    x = max_pool2d(local_response_norm(x, 5, 1e-4, 0.75, 1.0), 3, 2, ceil_mode=True)
    x = relu(conv2d(x, *t["conv2"], padding=2, groups=2))
    x = max_pool2d(local_response_norm(x, 5, 1e-4, 0.75, 1.0), 3, 2, ceil_mode=True)
    x = relu(conv2d(x, *t["conv3"], padding=1))
    x = relu(conv2d(x, *t["conv4"], padding=1, groups=2))
    x = relu(conv2d(x, *t["conv5"], padding=1, groups=2))
    x = max_pool2d(x, 3, 2, ceil_mode=True).flatten(1)
    x = relu(linear(x, *t["fc6"]))
    x = relu(linear(x, *t["fc7"]))
    return linear(x, *t["fc8"])


def test_the_pages_network_is_caffes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for example in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        exec(example, namespace)
    rng = np.random.default_rng(0)
    blobs = random_blobs(rng)
    rgb = rng.uniform(-128, 128, (2, 227, 227, 3)).astype(np.float32)  # as pictures less a mean: the norms have work
    with torch.no_grad():
        expected = caffe(blobs, nchw(rgb[..., ::-1]).float())
    assert relative_error(namespace["caffe_network"](blobs).forward(rgb, keep=False), expected) <= 1e-4

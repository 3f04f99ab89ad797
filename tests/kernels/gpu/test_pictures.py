"""Pictures from bytes to a batch on the device."""

from importlib import import_module

import gpu_on_host
import numpy as np
import pytest

from alexnet_np.data.preparation import Preparation

pytestmark = pytest.mark.skipif(gpu_on_host.problem() is not None, reason=str(gpu_on_host.problem()))

images_on_gpu = import_module("alexnet_np.kernels.gpu.images")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cut_mirrored_and_normalised_as_on_the_cpu(dtype):
    gpu_on_host.install()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 11, 14, 3), np.uint8)
    corners = np.array([[0, 0], [4, 5], [2, 1], [0, 5], [4, 0]], np.int32)
    mirrored = np.array([0, 1, 1, 0, 1], np.uint8)
    preparation = Preparation.photographs()
    found = images_on_gpu.cut_and_normalise(images, corners, mirrored, (7, 9), preparation.mean, preparation.std, dtype)
    pieces = [image[top : top + 7, left : left + 9] for image, (top, left) in zip(images, corners, strict=True)]
    pieces = [piece[:, ::-1] if m else piece for piece, m in zip(pieces, mirrored, strict=True)]
    np.testing.assert_allclose(found, preparation.normalise(np.stack(pieces)), rtol=1e-5, atol=1e-6)
    assert found.dtype == dtype

"""Winograd's matrices in exact fractions, and the three maps as adjoints of each other."""

from fractions import Fraction

import numpy as np
import pytest
from alexnet_np.kernels.cpu import conv, winograd
from alexnet_np.kernels.cpu.simd import PANEL
from hypothesis import given, strategies as st

from alexnet_np import backend

FORMS = [(m, r) for r in (2, 3, 5) for m in range(1, 8 - r + 2)]


@pytest.mark.parametrize(("m", "r"), FORMS)
@given(data=st.data())
def test_the_matrices_compute_a_correlation_exactly(m: int, r: int, data: st.DataObject) -> None:
    transform_y, transform_g, transform_d = winograd.matrices(m, r)
    T = m + r - 1
    integers = st.integers(-50, 50).map(Fraction)
    d = data.draw(st.lists(integers, min_size=T, max_size=T))
    g = data.draw(st.lists(integers, min_size=r, max_size=r))
    products = [a * b for a, b in zip(_times(transform_g, g), _times(transform_d, d), strict=True)]
    assert _times(transform_y, products) == [sum(d[i + k] * g[k] for k in range(r)) for i in range(m)]


def _times(matrix: winograd.Matrix, vector: list[Fraction]) -> list[Fraction]:
    return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


@pytest.mark.parametrize(("r", "H", "W"), [(3, 13, 8), (5, 9, 14), (3, 1, 1), (5, 2, 3)])
def test_one_step_of_each_gradient_is_the_adjoint_of_forward(r: int, H: int, W: int) -> None:
    """<dy, conv(x, w)> = <dx, x> = <dw, w>, for the gradients that Winograd computes."""
    rng = np.random.default_rng(r)
    x = rng.standard_normal((3, H, W, PANEL), dtype=np.float32)
    w = rng.standard_normal((r, r, PANEL, 2 * PANEL), dtype=np.float32)
    kernels = backend.get("cpu", "winograd").kernels
    y, saved = kernels.conv2d_forward(x, w, None, 1, r // 2)
    assert saved[0] == "winograd"
    dy = rng.standard_normal(y.shape, dtype=np.float32)
    dx, dw, db = kernels.conv2d_backward(dy, saved)
    inner = np.vdot(dy.astype(np.float64), y)
    scale = np.linalg.norm(dy) * np.linalg.norm(y)
    assert abs(np.vdot(dx.astype(np.float64), x) - inner) < 2e-5 * scale
    assert abs(np.vdot(dw.astype(np.float64), w) - inner) < 2e-5 * scale
    assert db is None


@pytest.mark.parametrize(
    ("x", "w", "stride", "groups"),
    [
        ((2, 9, 9, PANEL + 1), (3, 3, PANEL + 1, PANEL), 1, 1),  # channels do not fill vectors
        ((2, 9, 9, PANEL), (3, 3, PANEL, PANEL + 1), 1, 1),
        ((2, 9, 9, 2 * PANEL), (3, 3, PANEL, PANEL), 1, 2),  # groups
        ((2, 9, 9, PANEL), (3, 5, PANEL, PANEL), 1, 1),  # not square
        ((2, 9, 9, PANEL), (4, 4, PANEL, PANEL), 1, 1),  # no form for this side
        ((2, 9, 9, PANEL), (3, 3, PANEL, PANEL), (1, 2), 1),
        ((0, 9, 9, PANEL), (3, 3, PANEL, PANEL), 1, 1),  # no images
    ],
)
def test_what_winograd_cannot_do_is_im2cols(x: tuple, w: tuple, stride: int, groups: int) -> None:
    assert conv.with_algorithm("winograd")["conv2d_algorithm"](x, w, stride, 2, groups) == "im2col"
    assert conv.conv2d_algorithm(x, w, stride, 2, groups) == "im2col"


def test_the_rule_prefers_im2col_where_maps_are_tiny() -> None:
    big, tiny = (16, 13, 13, PANEL), (1, 3, 3, PANEL)
    assert conv.conv2d_algorithm(big, (3, 3, PANEL, PANEL), 1, 1) == "winograd"
    assert conv.conv2d_algorithm(tiny, (3, 3, PANEL, PANEL), 1, 1) == "im2col"


def test_first_layer_with_input_gradient_falls_back_on_im2col_and_agrees() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 35, 42, 3), dtype=np.float32)
    w = rng.standard_normal((11, 11, 3, PANEL), dtype=np.float32)
    kernels, reference = backend.get("cpu", "winograd").kernels, backend.get("reference").kernels
    y, saved = kernels.conv2d_forward(x, w, None, 4, 2)
    _, exact = reference.conv2d_forward(x.astype(np.float64), w.astype(np.float64), None, 4, 2)
    dy = rng.standard_normal(y.shape, dtype=np.float32)
    expected = reference.conv2d_backward(dy.astype(np.float64), exact)
    for input_grad in (True, False):
        dx, dw, _ = kernels.conv2d_backward(dy, saved, input_grad)
        assert np.linalg.norm(dw - expected[1]) < 1e-5 * np.linalg.norm(expected[1])
        assert (dx is None) != input_grad
    dx, _, _ = kernels.conv2d_backward(dy, saved)
    assert np.linalg.norm(dx - expected[0]) < 1e-5 * np.linalg.norm(expected[0])


def test_a_large_pixel_spoils_its_tile_in_proportion_and_only_by_winograd() -> None:
    """What docs/winograd.md says of data with a wide range: here of outputs that do not see pixel (2, 2)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 13, 13, 2 * PANEL), dtype=np.float32)
    w = rng.standard_normal((3, 3, 2 * PANEL, PANEL), dtype=np.float32)
    in_tile = np.zeros((13, 13), bool)
    in_tile[:5, :5] = True
    in_tile[1:4, 1:4] = False
    errors: dict[str, list[float]] = {"winograd": [], "im2col": []}
    for size in (1e3, 1e4):
        wide = x.copy()
        wide[:, 2, 2] *= size
        exact, _ = backend.get("reference").kernels.conv2d_forward(wide.astype("f8"), w.astype("f8"), None, 1, 1)
        for algorithm, found in errors.items():
            y, _ = backend.get("cpu", algorithm).kernels.conv2d_forward(wide, w, None, 1, 1)
            difference = (y - exact)[:, in_tile]
            found.append(float(np.linalg.norm(difference) / np.linalg.norm(exact[:, in_tile])))
    assert max(errors["im2col"]) < 1e-6
    assert 1e-5 < errors["winograd"][0] < 1e3 * 1e-5
    assert 5 < errors["winograd"][1] / errors["winograd"][0] < 20

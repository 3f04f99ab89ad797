"""Local response normalisation on a GPU: norm.cu."""

from typing import Any

from .. import reference
from ..array_module import array_module
from ..reference import checks
from .launch import TYPES, contiguous, has_kernel, launch, rows


def local_response_norm_forward(
    x: Any,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    divide_alpha: bool = True,
    across: str = "channels",
    groups: int = 1,
) -> tuple[Any, Any]:
    """See the reference book."""
    if not has_kernel(x):
        y, saved = reference.local_response_norm_forward(x, size, alpha, beta, k, divide_alpha, across, groups)
        return y, ("reference", saved)
    xp, x = array_module(x), contiguous(x)
    N, H, W, C = checks.images("local_response_norm", x, groups)
    axes, group = {"channels": 1, "space": 2}[across], C // groups
    a = alpha / size**axes if divide_alpha else alpha
    reach, none = (size // 2, (size - 1) // 2), (0, 0)
    geometry = (N, H, W, C, group, *(reach if axes == 2 else none), *(none if axes == 2 else reach))
    y, s = xp.empty_like(x), xp.empty(x.shape, TYPES[x.dtype.name][2])
    launch("local_response_norm_forward", x, 1, rows(N * H, W * C), x, y, s, *geometry, k, a, beta)
    return y, ("gpu", x, s, geometry, a, beta)


def local_response_norm_backward(dy: Any, saved: Any) -> Any:
    """See the reference book."""
    if saved[0] == "reference":
        return reference.local_response_norm_backward(dy, saved[1])
    _, x, s, geometry, a, beta = saved
    N, H, W, C = x.shape
    checks.gradient("local_response_norm", dy, x.shape)
    dx, dy = array_module(x).empty_like(x), contiguous(dy)
    launch("local_response_norm_backward", x, 1, rows(N * H, W * C), dy, x, s, dx, *geometry, a, beta)
    return dx

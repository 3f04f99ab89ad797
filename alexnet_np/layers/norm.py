"""LocalResponseNorm: kernels/reference/norm.py has the kernels."""

from typing import Any

from .arguments import integer, number
from .base import Layer, Shape


class LocalResponseNorm(Layer):
    """x / (k + a * sum of x^2 over a window)^beta: (N, H, W, C) -> (N, H, W, C).

    torch.nn.LocalResponseNorm's signature and, by default, its meaning of alpha: a = alpha / size. The
    paper's formula and TensorFlow take a = alpha: ``divide_alpha=False``. ``across`` and ``groups``:
    see the kernel.
    """

    def __init__(
        self,
        size: int,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        *,
        divide_alpha: bool = True,
        across: str = "channels",
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.size = integer("LocalResponseNorm", "size", size)
        self.alpha = number("LocalResponseNorm", "alpha", alpha)
        self.beta = number("LocalResponseNorm", "beta", beta)
        self.k = number("LocalResponseNorm", "k", k)
        self.divide_alpha = divide_alpha
        if across not in ("channels", "space"):
            raise ValueError(f"LocalResponseNorm: across: expected 'channels' or 'space', got {across!r}")
        self.across = across
        self.groups = integer("LocalResponseNorm", "groups", groups)

    def forward(self, x: Any, training: bool = False) -> Any:
        self.check_input(x)
        return self.keep(
            *self.kernels.local_response_norm_forward(
                x, self.size, self.alpha, self.beta, self.k, self.divide_alpha, self.across, self.groups
            )
        )

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        return self.kernels.local_response_norm_backward(dy, self.recall(dy))

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape, ("N", "H", "W", "C"))
        if shape[3] % self.groups:
            expected = f"channels in a multiple of groups ({self.groups})"
            raise ValueError(f"{self.label}: expected {expected}, got {tuple(shape)}")
        return shape

    def extra_repr(self) -> str:
        parts = [f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"]
        if not self.divide_alpha:
            parts.append("divide_alpha=False")
        if self.across != "channels":
            parts.append(f"across={self.across!r}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        return ", ".join(parts)

"""Stochastic gradient descent with momentum: the two rules in use.

Both are written in place: w and v are overwritten.

    torch    v <- m v + (g + d w)           w <- w - lr v
    2012     v <- m v - lr (g + d w)        w <- w + v

w weights, g gradient, v velocity, lr learning rate, m momentum, d weight decay. Momentum keeps part of the
earlier steps, so that gradients that agree add up and those that alternate cancel. Weight decay adds d w to
the gradient: it pulls every weight towards 0.

With a constant learning rate the rules take the same steps (the v of 2012 is -lr times torch's). When lr is
lowered, torch's rule makes the whole next step smaller, the old velocity included; the rule of 2012 only the
new gradient's part.

Sources: Krizhevsky et al. 2012, section 5 (the second); torch.optim.SGD (the first).
"""

from typing import Any

from . import checks


def sgd_torch_inplace(w: Any, g: Any, v: Any, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
    """One step by torch's rule, for arrays w, g and v of one shape. v starts at 0."""
    checks.sgd(w, g, v)
    v *= momentum
    v += g
    v += weight_decay * w
    w -= lr * v


def sgd_2012_inplace(w: Any, g: Any, v: Any, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
    """One step by the rule of 2012, for arrays w, g and v of one shape. v starts at 0."""
    checks.sgd(w, g, v)
    v *= momentum
    v -= lr * g
    v -= (lr * weight_decay) * w
    w += v

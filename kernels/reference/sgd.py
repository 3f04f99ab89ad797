"""Stochastic gradient descent with momentum: the two rules in use.

Both are written in place: w and v are overwritten.

    torch    v <- m v + (g + d w)           w <- w - lr v
    2012     v <- m v - lr (g + d w)        w <- w + v

w weights, g gradient, v velocity, m momentum, d weight decay. With a constant learning rate they take
the same steps (v of one is -lr times v of the other). When lr is lowered, torch's rule shortens the
old velocity's part of the next step at once, the rule of 2012 lets it run on.

Sources: Krizhevsky et al. 2012, section 5 (the second); torch.optim.SGD (the first).
"""

from typing import Any


def sgd_torch_inplace(w: Any, g: Any, v: Any, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
    """One step by torch's rule, for arrays w, g and v of one shape. v starts at 0."""
    v *= momentum
    v += g
    v += weight_decay * w
    w -= lr * v


def sgd_2012_inplace(w: Any, g: Any, v: Any, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
    """One step by the rule of 2012, for arrays w, g and v of one shape. v starts at 0."""
    v *= momentum
    v -= lr * g
    v -= (lr * weight_decay) * w
    w += v

"""Where windows lie on an image: the one place that computes sizes for convolution and pooling.

Along one axis a window of K pixels starts at -P and moves in steps of S, where P pixels of padding
were put before the image and P' after it:

        P   H                  P'
      |...|====================|...|
      [ K ]
        [ K ]        window i covers pixels  i*S - P  ...  i*S - P + K - 1
          [ K ]

It fits  O = (H + P + P' - K) // S + 1  times.
"""

from typing import TypeAlias

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = tuple[Pair, Pair]  # ((top, bottom), (left, right))


def pair(value: int | Pair) -> Pair:
    """The same number for both axes, or one for each: 3 -> (3, 3)."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def padding_pairs(padding: int | tuple[int | Pair, int | Pair]) -> Padding:
    """2 -> ((2, 2), (2, 2));  (1, 2) -> ((1, 1), (2, 2));  ((0, 3), (0, 3)) as it is."""
    vertical, horizontal = (padding, padding) if isinstance(padding, int) else padding
    return pair(vertical), pair(horizontal)


def output_size(size: int, kernel: int, stride: int, padding: int | Pair, ceil_mode: bool = False) -> int:
    """How many windows fit along one axis.

    With ``ceil_mode`` a last window may hang over the end, but must start inside the image or the
    padding before it (torch's rule). The result is 0 or negative where no window fits.
    """
    before, after = pair(padding)
    free = size + before + after - kernel
    if not ceil_mode:
        return free // stride + 1
    windows = -(-free // stride) + 1
    return windows - 1 if (windows - 1) * stride >= size + before else windows

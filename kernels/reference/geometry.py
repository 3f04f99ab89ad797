"""Where windows lie on an image: the one place that computes sizes for convolution and pooling.

Along one axis of H pixels, PT pixels of padding are put before the image and PB behind it. A window of K pixels
starts at the padding's first pixel and moves on in steps of S (the stride). Here H = 6, PT = PB = 1, K = 3, S = 2:

    pixel       -1   0   1   2   3   4   5   6
               pad  |------- image -------| pad
    window 0     *   *   *
    window 1             *   *   *                  window i covers pixels  i*S - PT  ...  i*S - PT + K - 1
    window 2                     *   *   *

It fits  OH = (H + PT + PB - K) // S + 1  times: (6 + 1 + 1 - 3) // 2 + 1 = 3. What is left at the end is not used.
"""

from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]
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

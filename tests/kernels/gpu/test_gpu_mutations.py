"""Does the suite catch mistakes in CUDA's text? They are planted one at a time, as in test_mutations.py, and compiled.

A mutant is a .cu file with a piece of its text replaced, and the ops whose cases are run on it against the reference
book, with blocks and threads in one order and in the other. Each must be caught by wrong numbers, or by threads that do
not meet at a barrier; a text that is no longer there is an error. None leaves its arrays: the sanitizers catch those.
"""

import gpu_on_host
import pytest
from cases import BOOKS, CASES
from test_every_kernel import ROUNDING, assert_close

from alexnet_np import backend

pytestmark = pytest.mark.skipif(gpu_on_host.problem() is not None, reason=str(gpu_on_host.problem()))

reference = backend.get("reference").kernels

CONV, POOL, AVG = ("conv2d",), ("max_pool2d",), ("adaptive_avg_pool2d",)
BIAS = ("linear_relu", "linear", "conv2d_relu")
LOSS = ("softmax_cross_entropy",)
LRN = ("local_response_norm",)

MUTANTS = {
    # what all kernels share
    ("common", "t < (count); t += gridDim.y", "t < (count) - 1; t += gridDim.y", POOL),
    ("common", "row < (count); row", "row < (count) - 1; row", POOL),
    ("common", "t < (count); t += (offset)gridDim.x", "t + 1 < (count); t += (offset)gridDim.x", ("relu",)),
    ("common", "+ threadIdx.y; r < (count)", "+ threadIdx.y + 1; r < (count)", BIAS),
    ("common", "for (int n = blockDim.x / 2; n > 0; n /= 2) {\n        if (threadIdx.x < n) shared[threadIdx.x] +=", "for (int n = blockDim.x / 4; n > 0; n /= 2) {\n        if (threadIdx.x < n) shared[threadIdx.x] +=", LOSS),  # noqa: E501
    ("common", "    shared[threadIdx.x] = value;\n    __syncthreads();\n    for (int n = blockDim.x / 2; n > 0; n /= 2) {\n        if (threadIdx.x < n) shared", "    shared[threadIdx.x] = value;\n    for (int n = blockDim.x / 2; n > 0; n /= 2) {\n        if (threadIdx.x < n) shared", LOSS),  # noqa: E501
    ("common", "        __syncthreads();\n    }\n    real sum", "    }\n    real sum", LOSS),
    ("common", "real max = shared[0];\n    __syncthreads();", "real max = shared[0];", ("softmax",)),
    ("common", "return x <= 0 ? 0 : x", "return x < 0 ? -x : x", BIAS),
    # pooling
    ("pool", "u0 = max(0, PT - i * SH)", "u0 = max(0, PT - i * SH + 1)", POOL),
    ("pool", "v1 = min(KW, W + PL - j * SW)", "v1 = min(KW - 1, W + PL - j * SW)", POOL),
    ("pool", "place.at[k] = u * KW + v;", "place.at[k] = u * KH + v;", POOL),
    ("pool", "h + PT < KH ? 0 : (h + PT - KH) / SH + 1", "h + PT < KH ? 0 : (h + PT - KH) / SH + 2", POOL),
    ("pool", "i1 = min(OH, (h + PT) / SH + 1)", "i1 = min(OH, (h + PT) / SH)", POOL),
    ("pool", "sum.at[k] += gradient.at[k];\n                }", "sum.at[k] = gradient.at[k];\n                }", POOL),
    ("pool", "(w + PL - KW) / SW + 1", "(w + PL - KW) / SW", POOL),  # one window too many: whose pixel it is not
    ("pool", "sum.at[k] /= (h1 - h0) * (w1 - w0)", "sum.at[k] /= (h1 - h0) * (h1 - h0)", AVG),
    ("pool", "* size + cells - 1) / cells", "* size) / cells", AVG),
    ("pool", "gradient.at[k] / (rows * columns)", "gradient.at[k] / rows", AVG),
    # convolution
    ("conv", "0 <= h && h < H &&", "0 < h && h < H &&", CONV),
    ("conv", "0 <= start + t &&", "0 < start + t &&", CONV),
    ("conv", "start + t < W * C)", "start + t < W * C - 1)", CONV),
    ("conv", "run < OW * KH * in_row", "run < OW * KH * in_row - 1", CONV),
    ("conv", "h = i * SH + u - PT, start", "h = i * SH + KH - 1 - u - PT, start", CONV),
    ("conv", "(offset)g * N * OH + row", "(offset)row", CONV),
    ("conv", "w + PL < KW ? 0 : (w + PL - KW) / SW + 1", "w + PL < KW ? 0 : (w + PL - KW) / SW + 2", CONV),
    ("conv", "u = h + PT - i * SH, v = w + PL - j * SW", "u = KH - 1 - (h + PT - i * SH), v = w + PL - j * SW", CONV),
    ("conv", "sum.at[k] += copy.at[k]", "sum.at[k] = copy.at[k]", CONV),
    # bias and ReLU
    ("bias", "pack.at[k] += bias.at[k]", "pack.at[k] -= bias.at[k]", BIAS),
    ("bias", "if (with_relu)", "if (!with_relu)", BIAS),
    ("bias", "mine->at[k] += mine[n * blockDim.x].at[k]", "mine->at[k] += mine[blockDim.x].at[k]", BIAS),
    ("bias", "n = blockDim.y / 2; n > 0", "n = blockDim.y / 2; n > 1", BIAS),
    ("bias", "    *mine = sum;\n    __syncthreads();", "    *mine = sum;", BIAS),
    ("bias", "if (result.at[k] <= 0) gradient.at[k] = 0", "if (result.at[k] > 0) gradient.at[k] = 0", BIAS),
    # the rest
    ("activation", "- sum), dx", "+ sum), dx", ("softmax",)),
    ("activation", "if (result.at[k] <= 0) pack", "if (result.at[k] < 0) pack", ("relu",)),
    ("loss", "real share = smoothing / K;", "real share = smoothing;", LOSS),
    ("loss", "(p - q) * scale", "(q - p) * scale", LOSS),
    ("loss", "*loss = sum / N", "*loss = sum", LOSS),
    ("norm", "space_after, space_before, channels_after", "space_before, space_after, channels_before", LRN),
    ("norm", "c / group * group", "0", LRN),
    ("norm", "pow(s[there], -beta - 1)", "pow(s[there], -beta)", LRN),
    ("norm", "min(H, h + space_after + 1)", "min(H, h + space_after)", LRN),
}  # fmt: skip


def planted(file, old, new):
    """A host on which this file, or what all have from common.h, has a mistake."""
    path = gpu_on_host.launcher.FOLDER / (f"{file}.cu" if file != "common" else "common.h")
    text = path.read_text("utf-8")
    assert old in text, f"{path.name}: expected the text {old!r}, found none"
    return gpu_on_host.Host(lambda name, text: text.replace(old, new, 1) if file in (name, "common") else text)


def run(host, ops, monkeypatch):
    """The cases of some ops, in both orders of threads, against the reference book."""
    book = BOOKS["gpu, emulated"]
    monkeypatch.setattr(gpu_on_host.launcher, "_host", host)
    for case in (case for case in CASES.values() if case.op in ops and case.size < 20_000):
        arrays = case.arrays("float32")
        expected = case.run(reference, [None if array is None else array.astype("float64") for array in arrays])
        for host.reversed in (False, True):
            assert_close(case.run(book, arrays), expected, ROUNDING["float32"])


@pytest.mark.parametrize(("file", "old", "new", "ops"), sorted(MUTANTS), ids=lambda value: str(value)[:50])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.skipif(gpu_on_host.SANITIZE, reason="the suite itself is what the sanitizers are for")
def test_the_mistake_is_caught(file, old, new, ops, monkeypatch):
    host = planted(file, old, new)
    with pytest.raises(AssertionError):
        run(host, ops, monkeypatch)

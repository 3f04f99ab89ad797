"""Print README's tables of what matches what: relative errors, measured here and now.

    python tests/parity_table.py [--write]

The networks have 1000 classes and random weights. The other side computes in float64, as far as it can.
With --write the tables also replace those in README.md.
"""

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from against_torch import nchw, nhwc, random_weights, relative_error, torch_layout
from test_keras import IMAGES, LABELS, keras_alexnet, keras_step
from test_torchvision import Step, smooth_images
from torchvision_import import import_torchvision

from alexnet_np import gradcheck, layers, losses, models, weights

README = Path(__file__).parents[1] / "README.md"
HEADER = ("", "against", "dtype", "device", "output", "loss", "input gradient", "worst parameter gradient")

Errors = dict[str, float]
"""What was compared ("output", "loss", "input", or a parameter's name) -> relative error."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Print README's tables of what matches what.")
    parser.add_argument("--write", action="store_true", help="put them into README.md")
    write = parser.parse_args().write

    measured = [row for rows in (torchvision(), keras(), grouped_convolution(), response_norm()) for row in rows]
    parity = table(HEADER, measured)
    checks = table(("gradient check of", "worst error by differences", "by complex steps"), gradient_checks())
    text = f"{parity}\n\n{checks}"
    print(text)
    if write:
        marked = r"(?<=<!-- parity:begin -->\n).*?(?=<!-- parity:end -->)"
        README.write_text(re.sub(marked, f"{text}\n", README.read_text("utf-8"), flags=re.DOTALL), "utf-8")


def torchvision() -> Iterator[Sequence[str]]:
    theirs = import_torchvision().models.alexnet().double().eval()
    random_weights(theirs, np.random.default_rng(0))
    ours = models.alexnet(init="zeros")
    ours.load_torch_state_dict(theirs.state_dict())
    step = Step(theirs, smooth_images(theirs, 1, 224, 224, 0), np.array([3]))
    return rows("`alexnet`, 224x224", "torchvision", ours, lambda dtype: step.errors(ours))


def keras() -> Iterator[Sequence[str]]:
    theirs = keras_alexnet()
    ours = models.alexnet_keras()
    theirs.set_weights(weights.to_keras(ours))
    probabilities, grads = keras_step(theirs)

    def errors(dtype: str) -> Errors:
        images = IMAGES.astype(dtype)
        found = {"output": relative_error(ours.forward(images), probabilities)}
        _, dlogits = losses.softmax_cross_entropy(ours.logits(images), LABELS)
        ours.backward(dlogits)
        return found | {p.name: relative_error(p.grad, g) for p, g in zip(ours.parameters(), grads, strict=True)}

    return rows("`alexnet_keras`, 227x227", "Keras 3, whose Dense multiplies in float32", ours, errors)


def grouped_convolution() -> Iterator[Sequence[str]]:
    theirs = torch.nn.Conv2d(96, 256, 5, padding=2, groups=2).double()
    random_weights(theirs, np.random.default_rng(0))
    return layer_rows("conv2 of 2012", "`torch.nn.Conv2d`", layers.Conv2d(96, 256, 5, padding=2, groups=2), theirs)


def response_norm() -> Iterator[Sequence[str]]:
    arguments = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2}
    theirs = torch.nn.LocalResponseNorm(**arguments)
    return layer_rows("response norm", "`torch.nn.LocalResponseNorm`", layers.LocalResponseNorm(**arguments), theirs)


def layer_rows(name: str, against: str, ours: layers.Layer, theirs: torch.nn.Module) -> Iterator[Sequence[str]]:
    """The same weights on both sides, two images of 27x31 pixels and 96 channels, a random dy."""
    rng = np.random.default_rng(1)
    images = 10 * rng.standard_normal((2, 27, 31, 96), dtype=np.float32)
    x = nchw(images).requires_grad_()
    y = theirs(x)
    dy = rng.standard_normal(nhwc(y).shape, dtype=np.float32)
    y.backward(nchw(dy))
    given = dict(theirs.named_parameters())
    for p in ours.parameters():
        value = given[p.name].detach().numpy()
        p.data[...] = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value

    def errors(dtype: str) -> Errors:
        found = {"output": relative_error(ours.forward(images.astype(dtype)), nhwc(y))}
        found["input"] = relative_error(ours.backward(dy.astype(dtype)), nhwc(x.grad))
        return found | {p.name: relative_error(torch_layout(p.grad), given[p.name].grad) for p in ours.parameters()}

    return rows(name, against, ours, errors)


def rows(name: str, against: str, ours: layers.Layer, errors: Callable[[str], Errors]) -> Iterator[Sequence[str]]:
    """A row for every dtype and device that computes by itself: the cpu book leaves float64 to the reference book."""
    for dtype, device in (("float64", "reference"), ("float32", "reference"), ("float32", "cpu")):
        ours.to(device, dtype)
        found = errors(dtype)
        named = [found.pop(key, None) for key in ("output", "loss", "input")]
        figures = [*named, max(found.values(), default=None)]
        yield name, against, dtype, device, *("" if figure is None else f"{figure:.1e}" for figure in figures)
        name = against = ""


def gradient_checks() -> Iterator[Sequence[str]]:
    """The worst error of each op over all tensors and geometries."""
    worst: dict[str, dict[bool, float]] = {}
    for row in gradcheck.report(networks=True):
        found, analytic = worst.setdefault(row.op, {}), row.method == "complex step"
        found[analytic] = max(found.get(analytic, 0.0), row.error)
    for op, found in worst.items():
        yield op, *(f"{found[analytic]:.1e}" if analytic in found else "" for analytic in (False, True))


def table(header: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (header, *cells)]
    lines.insert(1, "|" + "---|" * len(header))
    return "\n".join(lines)


if __name__ == "__main__":
    main()

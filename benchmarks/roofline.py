"""What a training step must cost a GPU at least: bytes and products of every kernel of the gpu book, on paper.

    python -m benchmarks.roofline --batch-size 128 --card H100

For each kernel, over all layers of AlexNet: what it moves from and to memory, what it multiplies, and the longer of the
two times at a card's peaks. Nothing is run and nothing measured. Columns are not in it as long as they stay in the
second-level cache (kernels/gpu/conv.py): the bytes through it are named separately.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass, field
from math import prod

from alexnet_np import layers, models

# NVIDIA's data sheets, SXM, dense: bytes a second, and floating point operations, in which the cards are alike
MEMORY = {"H100": 3.35e12, "H200": 4.8e12}
PEAKS = {"float32": 67e12, "tf32": 494e12, "bfloat16": 989e12}
WEIGHT = 4  # bytes: float32 in every precision


@dataclass
class Cost:
    """Of a kernel in one step."""

    bytes: float = 0.0
    flops: float = 0.0
    cached: float = 0.0  # bytes to and from columns

    def add(self, bytes: float = 0.0, flops: float = 0.0, cached: float = 0.0) -> None:
        self.bytes += bytes
        self.flops += flops
        self.cached += cached


@dataclass
class Step:
    """The kernels of a step, layer by layer; ``size`` is an activation's, in bytes."""

    size: int
    kernels: dict[str, Cost] = field(default_factory=lambda: defaultdict(Cost))

    def product(self, layer, x, y, pooled, first):
        """A Conv2d or Linear from x to y, and the bias and the ReLU, on pixels ``pooled`` if they are."""
        flops, weights = 2 * layer.macs(x), layer.weight.data.size
        x_size, y_size = prod(x) * self.size, prod(y) * self.size
        passes = 2 if first else 3  # forward, the gradient of the weights, that of x
        columns = 0
        if isinstance(layer, layers.Conv2d):
            columns = prod(y[:3]) * prod(layer.weight.data.shape[:3]) * layer.groups * self.size
            self.kernels["im2col"].add(2 * x_size, cached=2 * columns)
            if not first:
                self.kernels["col2im"].add(x_size, cached=columns)
        if self.size < WEIGHT:
            self.kernels["to_bfloat16"].add(weights * (WEIGHT + self.size))
        operand = weights * self.size
        self.kernels["product: y"].add(operand + y_size + (0 if columns else x_size), flops, columns)
        self.kernels["product: dw"].add(weights * WEIGHT + y_size + (0 if columns else x_size), flops, columns)
        if passes == 3:
            self.kernels["product: dx"].add(operand + y_size + (0 if columns else x_size), flops, columns)
        # Where pooling comes behind, it comes first (kernels/gpu/fused.py).
        pooled_size = prod(pooled) * self.size
        self.kernels["add_bias, with ReLU"].add(2 * pooled_size)
        self.kernels["bias_gradient, with ReLU"].add(3 * pooled_size)

    def pool(self, x, y):
        x_size, y_size = prod(x) * self.size, prod(y) * self.size
        self.kernels["max_pool2d_forward"].add(x_size + y_size + prod(y))
        self.kernels["max_pool2d_backward"].add(x_size + y_size + prod(y))

    def dropout(self, x):
        self.kernels["dropout, both ways"].add(4 * prod(x) * self.size)

    def sgd(self, parameters):
        self.kernels["sgd_torch"].add(5 * WEIGHT * parameters)  # w, g and v come, w and v go


def step(batch_size: int, image: int, size: int) -> dict[str, Cost]:
    """Every kernel's cost in a step of torchvision's AlexNet, with activations of ``size`` bytes."""
    net, costs = models.alexnet(init="zeros"), Step(size)
    chain = [layer for _, layer in net.walk()]
    shapes = [(batch_size, image, image, 3)]
    for layer in chain:
        shapes.append(layer.output_shape(shapes[-1]))
    for i, (layer, x, y) in enumerate(zip(chain, shapes[:-1], shapes[1:], strict=True)):
        if isinstance(layer, layers.Conv2d | layers.Linear):
            is_pooled = chain[i + 2 : i + 3] and isinstance(chain[i + 2], layers.MaxPool2d)
            costs.product(layer, x, y, shapes[i + 3] if is_pooled else y, first=i == 0)
        elif isinstance(layer, layers.MaxPool2d):
            costs.pool(x, y)
        elif isinstance(layer, layers.Dropout):
            costs.dropout(x)
    costs.sgd(sum(p.data.size for p in net.parameters()))
    return costs.kernels


def table(batch_size: int, image: int, card: str = "H200") -> str:
    """Markdown: a row for each kernel, a column for each precision."""
    memory = MEMORY[card]
    wide, narrow = step(batch_size, image, 4), step(batch_size, image, 2)
    lines = [
        "| kernel | MB, float32 | MB, bfloat16 | GFLOP | bound | float32 | tf32 | bfloat16 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    totals = dict.fromkeys(PEAKS, 0.0)
    for name in narrow:
        cost = wide.get(name, Cost())
        times = {p: _time(narrow[name] if p == "bfloat16" else cost, peak, memory) for p, peak in PEAKS.items()}
        for precision, seconds in times.items():
            totals[precision] += seconds
        bound = "products" if cost.flops / PEAKS["tf32"] > cost.bytes / memory else "memory"
        figures = [
            f"{cost.bytes / 1e6:.0f}",
            f"{narrow[name].bytes / 1e6:.0f}",
            f"{narrow[name].flops / 1e9:.0f}",
            bound,
        ]
        lines.append(f"| {' | '.join([name, *figures, *(f'{1e6 * s:.0f}' for s in times.values())])} |")
    lines.append(f"| together | | | | | {' | '.join(f'{1e6 * s:.0f}' for s in totals.values())} |")
    cached = [sum(cost.cached for cost in costs.values()) / 1e9 for costs in (wide, narrow)]
    lines += ["", "Through columns in the cache: {:.1f} GB in float32, {:.1f} GB in bfloat16.".format(*cached)]
    return "\n".join(lines)


def _time(cost: Cost, peak: float, memory: float) -> float:
    return max(cost.bytes / memory, cost.flops / peak)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a training step must cost a GPU at least, on paper.")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--image", type=int, default=224, help="pixels of a side")
    parser.add_argument("--card", choices=tuple(MEMORY), default="H200", help="(H200)")
    arguments = parser.parse_args()
    print(table(arguments.batch_size, arguments.image, arguments.card))


if __name__ == "__main__":
    main()

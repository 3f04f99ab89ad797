"""The paper figures of the GPU's step."""

import pytest

from benchmarks import roofline


def test_products_are_those_of_a_step():
    """Three for each layer, less the gradient of the pictures: 530 GFLOP at batch 128."""
    costs = roofline.step(128, 224, 4)
    assert sum(cost.flops for cost in costs.values()) == pytest.approx(530e9, rel=0.01)
    forward, weights, pictures = (costs[f"product: {name}"].flops for name in ("y", "dw", "dx"))
    assert forward == weights == pytest.approx(2 * 128 * 0.714e9, rel=0.01)
    assert forward - pictures == 2 * 128 * 55 * 55 * 64 * 363


def test_bytes_grow_with_the_batch_and_the_optimiser_does_not():
    one, four = roofline.step(1, 224, 4), roofline.step(4, 224, 4)
    assert one["sgd_torch"].bytes == four["sgd_torch"].bytes == 5 * 4 * 61_100_840
    for name in ("im2col", "col2im", "max_pool2d_forward", "add_bias, with ReLU"):
        assert four[name].bytes == 4 * one[name].bytes


def test_what_memory_bounds_takes_longer_on_an_h100():
    """The optimiser reads and writes 1222 MB: at 3.35 and 4.8 TB/s. Products are computed as fast."""
    for card, sgd in (("H100", "365"), ("H200", "255")):
        rows = {
            cells[1].strip(): cells
            for line in roofline.table(128, 224, card).splitlines()
            if (cells := line.split("|"))[1:]
        }
        assert rows["sgd_torch"][-2].strip() == sgd
        assert rows["product: y"][-4].strip() == "2729"


def test_the_table_names_every_kernel_and_both_bounds():
    text = roofline.table(128, 224)
    assert all(f"| {name} |" in text for name in roofline.step(128, 224, 2))
    assert "| products |" in text
    assert "| memory |" in text

"""The profile of the cpu engine: every layer with weights, its products, its errors."""

from alexnet_np import models
from benchmarks import problem, profile


def test_every_layer_of_a_training_step(monkeypatch):
    monkeypatch.setattr(profile, "STEPS", 2)
    monkeypatch.setattr(profile, "IMAGES_FOR_ERRORS", 1)
    net = models.alexnet(num_classes=problem.CLASSES, init="zeros")
    monkeypatch.setattr(profile.models, "alexnet", lambda: net)
    rows = {line.split("  ")[1].split(",")[0]: line for line in profile.text(1).splitlines() if line.startswith("  ")}
    names = [f"conv{n}" for n in range(1, 6)] + ["fc6", "fc7", "fc8"]
    assert [name for name in rows if name in names] == names
    assert {"loss", "SGD", "dropout of 9216"} <= rows.keys()
    for name in names:
        y, dx, dw = rows[name].split()[-3:]
        assert (dx == "-") == (name == "conv1")  # the images get no gradient
        assert all(1e-8 < float(error) < 2e-5 for error in (y, dx, dw) if error != "-")
    assert sum(part.products for part in profile._parts(net, 1)) == net.macs((1, 224, 224, 3))  # one image: im2col

"""Training steps on the device: recorded and not, against float64 and against torch."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from alexnet_np import backend, models, optim
from alexnet_np.backend import to_numpy
from alexnet_np.inference import Inference
from alexnet_np.step import NotFiniteError, Step


def new_network(cupy, dropout=0.5, init="torch"):
    """AlexNet; where every thread of a kernel is a call of a function on the CPU, a small network."""
    if getattr(cupy, "pretended", False):
        from pictures import small_network

        return small_network(num_classes=10, dropout=dropout)
    return models.alexnet(num_classes=10, dropout=dropout, init=init)


def batches(number, N=4, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal((N, 67, 75, 3), dtype=np.float32), rng.integers(10, size=N)) for _ in range(number)]


def new(cupy, dropout=0.5, lr=0.01, graph=True, dtype=None, precision="float32"):
    net = new_network(cupy, dropout).to("gpu", dtype, precision=precision)
    return Step(net, optim.SGD(net.parameters(), lr, momentum=0.9, weight_decay=5e-4), graph=graph)


def weights(step):
    return {p.name: to_numpy(p.data).copy() for p in step.net.parameters()}


def train(step, given):
    """The losses, read when all is done."""
    results = [step(images, labels)[0] for images, labels in given]
    return [float(loss) for loss in results]


def relative_error(found, expected):
    found, expected = (to_numpy(array).astype(np.float64) for array in (found, expected))
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_a_recorded_step_has_the_bits_of_one_that_is_not(cupy, precision):
    given = [*batches(4), *batches(2, N=3), *batches(1)]
    if getattr(cupy, "pretended", False) and precision == "tf32":
        pytest.skip("the rounding to TF32 is NumPy's on a pretended GPU, and NumPy cannot be recorded")
    recorded, eager = new(cupy, precision=precision), new(cupy, graph=False, precision=precision)
    assert train(recorded, given) == train(eager, given)
    for (name, w), again in zip(weights(recorded).items(), weights(eager).values(), strict=True):
        np.testing.assert_array_equal(w, again, err_msg=name)


def test_recorded_answers_have_the_bits_of_those_that_are_not(cupy, precision):
    if getattr(cupy, "pretended", False) and precision == "tf32":
        pytest.skip("the rounding to TF32 is NumPy's on a pretended GPU, and NumPy cannot be recorded")
    net = new_network(cupy).to("gpu", precision=precision)
    recorded, eager = Inference(net), Inference(net, graph=False)
    for images, _ in [*batches(3), *batches(3, N=3, seed=1)]:
        np.testing.assert_array_equal(to_numpy(recorded(images)), to_numpy(eager(images)))


def test_the_same_seed_gives_the_same_bits(cupy):
    first, again = new(cupy), new(cupy)
    given = batches(4)
    assert train(first, given) == train(again, given)
    for (name, w), other in zip(weights(first).items(), weights(again).values(), strict=True):
        np.testing.assert_array_equal(w, other, err_msg=name)


@pytest.mark.parametrize("graph", [True, False])
def test_gradients_are_within_1e_4_of_float64(cupy, graph):
    """In float32, of one and the same step; the seed is one without a unit that lies on its kink."""
    step, exact = new(cupy, dropout=0.0, graph=graph), new_network(cupy, dropout=0.0).to("reference", "float64")
    expected = Step(exact, optim.SGD(exact.parameters(), 0.0))
    step.sgd.groups[0].lr = 0.0
    for images, labels in batches(1) * 3:
        loss, _ = step(images, labels)
    wanted, _ = expected(images, labels)
    assert float(loss) == pytest.approx(wanted, rel=1e-5)
    for p, q in zip(step.net.parameters(), exact.parameters(), strict=True):
        assert relative_error(p.grad, q.grad) < 1e-4, p.name


def test_every_replay_has_masks_of_its_own(cupy):
    found = train(new(cupy, lr=0.0), batches(1) * 6)
    assert len(set(found)) == 6


def test_learning_rates_reach_a_recorded_step(cupy):
    step = new(cupy, dropout=0.0)
    seen = [weights(step)]
    for lr, (images, labels) in zip((0.01, 0.01, 0.0, 1e-3), batches(1) * 4, strict=True):
        step.sgd.groups[0].lr = lr
        step(images, labels)
        seen.append(weights(step))
    moved = [max(np.abs(now[name] - before[name]).max() for name in now) for before, now in pairwise(seen)]
    assert moved[2] == 0
    assert 0 < moved[3] < moved[1]


def test_a_step_that_is_not_finite_changes_nothing(cupy, precision):
    step = new(cupy, precision=precision, graph=not getattr(cupy, "pretended", False))
    given = batches(4)
    train(step, given[:3])
    before, velocities = weights(step), {name: to_numpy(v).copy() for name, v in step.sgd.velocities.items()}
    images = given[3][0].copy()
    images[1, 2, 3, 0] = np.nan
    loss, _ = step(images, given[3][1])
    for name, w in weights(step).items():
        np.testing.assert_array_equal(w, before[name], err_msg=name)
        np.testing.assert_array_equal(to_numpy(step.sgd.velocities[name]), velocities[name], err_msg=name)
    with pytest.raises(NotFiniteError, match="NaN or infinity in the images"):
        step.raise_if_skipped(loss, images, given[3][1])


def test_bfloat16_learns_as_float32_does(cupy):
    """Noise around a colour for each class: the losses fall, and lie on one another.

    The rate is one at which AlexNet learns these pictures without a leap.
    """
    pytest.importorskip("ml_dtypes", reason="precision bfloat16 needs ml_dtypes")
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 3
    colours = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])[labels][:, None, None]
    images = (colours + 0.5 * rng.standard_normal((12, 67, 75, 3))).astype(np.float32)
    curves = {}
    for precision in ("float32", "bfloat16"):
        step = new(cupy, dropout=0.0, lr=0.02 if getattr(cupy, "pretended", False) else 0.006, precision=precision)
        curves[precision] = np.array(train(step, [(images, labels)] * 34))
    first, last = curves["float32"][[0, -1]]
    assert last < 0.6 * first
    assert np.abs(curves["bfloat16"] - curves["float32"]).mean() < 0.05 * first


@pytest.mark.parametrize("graph", [True, False])
def test_steps_keep_no_memory_and_recorded_ones_take_none(real_cupy, precision, graph):
    step, pool = new(real_cupy, graph=graph, precision=precision), real_cupy.get_default_memory_pool()
    given = [tuple(map(real_cupy.asarray, batch)) for batch in batches(1)] * 3
    for _ in range(2):  # the second time with as many losses at once as ever after
        train(step, given)
    used, total, (free, _) = pool.used_bytes(), pool.total_bytes(), real_cupy.cuda.runtime.memGetInfo()
    for _ in range(3):
        train(step, given)
    assert pool.used_bytes() == used
    if graph:  # else which of its free blocks the pool splits, and whether one is left that is large enough, is chance
        assert pool.total_bytes() == total
        assert real_cupy.cuda.runtime.memGetInfo()[0] >= free


def test_a_step_that_is_gone_has_given_its_memory_back(real_cupy):
    pool, free = real_cupy.get_default_memory_pool(), []
    for _ in range(3):  # after the first, kernels have what they keep for good
        step = new(real_cupy)
        train(step, batches(4))
        del step
        pool.free_all_blocks()
        free.append(real_cupy.cuda.runtime.memGetInfo()[0])
    assert free[0] <= free[1] <= free[2]


def test_batches_that_are_transferred_train_as_others_do(real_cupy):
    pytest.importorskip("PIL", reason="alexnet_np.data needs Pillow")
    from alexnet_np.data import Preparation
    from alexnet_np.data.transfer import Transfer

    given = [*batches(5), *batches(1, N=2)]
    plain, transferred = new(real_cupy), new(real_cupy)
    expected = train(plain, given * 2)
    transfer = Transfer(transferred.net.backend, Preparation.photographs())
    assert [*train(transferred, transfer(given)), *train(transferred, transfer(given))] == expected


def test_pictures_that_travel_as_bytes_are_those_that_the_cpu_normalises(real_cupy):
    pytest.importorskip("PIL", reason="alexnet_np.data needs Pillow")
    from alexnet_np.data import Preparation
    from alexnet_np.data.transfer import Transfer

    preparation, rng = Preparation.photographs(), np.random.default_rng(0)
    given = [(rng.integers(0, 256, (N, 67, 75, 3), np.uint8), np.arange(N)) for N in (4, 4, 4, 3)]
    found = [to_numpy(images) for images, _ in Transfer(backend.get("gpu"), preparation)(given)]
    for y, (images, _) in zip(found, given, strict=True):
        np.testing.assert_allclose(y, preparation.normalise(images), rtol=1e-5, atol=1e-6)


def test_numbers_on_their_way_back_are_those_of_their_step(real_cupy):
    pytest.importorskip("PIL", reason="alexnet_np.data needs Pillow")
    from alexnet_np.data import Preparation
    from alexnet_np.data.transfer import Transfer

    given = batches(6)
    step, transfer = new(real_cupy), Transfer(backend.get("gpu"), Preparation.photographs())
    unread = [transfer.back(*step(images, labels)) for images, labels in given]
    assert [read()[0] for read in unread] == train(new(real_cupy), given)


def test_steps_are_those_of_torch(real_cupy):
    """Losses and weights of five steps. torch computes them in float64, which nothing rounds to TF32 on the way; on the
    GPU too, where its build can.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    step = new(real_cupy, dropout=0.0)
    theirs = torch_alexnet().to(device, torch.float64)
    theirs.load_state_dict({name: torch.from_numpy(w) for name, w in step.net.torch_state_dict().items()})
    sgd = torch.optim.SGD(theirs.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    for images, labels in batches(5):
        loss, _ = step(images, labels)
        sgd.zero_grad()
        x = torch.from_numpy(images).permute(0, 3, 1, 2).to(device, torch.float64)
        wanted = torch.nn.functional.cross_entropy(theirs(x), torch.from_numpy(labels).to(device))
        wanted.backward()
        sgd.step()
        assert float(loss) == pytest.approx(wanted.item(), rel=1e-4)
    for name, w in step.net.torch_state_dict().items():
        assert relative_error(w, theirs.state_dict()[name].cpu().numpy()) < 1e-4, name


def torch_alexnet():
    """torchvision's network for ten classes without dropout, written out: torchvision need not be there."""
    nn = torch.nn

    def conv(*arguments, **options):
        return [nn.Conv2d(*arguments, **options), nn.ReLU()]

    pool = nn.MaxPool2d(3, 2)
    features = [*conv(3, 64, 11, 4, 2), pool, *conv(64, 192, 5, padding=2), pool, *conv(192, 384, 3, padding=1)]
    features += [*conv(384, 256, 3, padding=1), *conv(256, 256, 3, padding=1), pool]
    classifier = [nn.Identity(), nn.Linear(9216, 4096), nn.ReLU(), nn.Identity(), nn.Linear(4096, 4096), nn.ReLU()]
    classifier += [nn.Linear(4096, 10)]
    net = nn.Sequential()
    net.add_module("features", nn.Sequential(*features))
    net.add_module("avgpool", nn.AdaptiveAvgPool2d((6, 6)))
    net.add_module("flatten", nn.Flatten())
    net.add_module("classifier", nn.Sequential(*classifier))
    return net


def test_the_device_says_what_it_is(real_cupy):
    assert backend.gpu_problem() is None
    assert backend.get("gpu").xp is real_cupy

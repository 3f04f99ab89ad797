"""SGD, its two rules and its schedules: against torch.optim and against the rules written out."""

import copy

import numpy as np
import pytest
import torch
from against_torch import nchw, relative_error, torch_layout
from torch.optim import lr_scheduler

from alexnet_np import layers, losses, optim

devices = pytest.mark.parametrize("device", ["reference", "cpu"])


def small_net():
    """Conv, ReLU, pool, linear, for images of 9x12 pixels that neither stride nor window divides."""
    rng = np.random.default_rng(0)
    return layers.Sequential(
        layers.Conv2d(3, 4, kernel_size=3, stride=2, padding=(1, 0), rng=rng),
        layers.ReLU(),
        layers.MaxPool2d(kernel_size=3, stride=2),
        layers.Flatten(),
        layers.Linear(2 * 2 * 4, 5, rng=rng),
    )


@devices
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_ten_steps_stay_together_with_torch(device, momentum, weight_decay):
    """Losses, gradients and weights, with a learning rate that falls on the way."""
    net = small_net().to(device, "float64")
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, stride=2, padding=(1, 0)),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(3, 2),
        torch.nn.Flatten(),
        torch.nn.Linear(2 * 2 * 4, 5),
    ).double()
    image = {"4.weight": (2, 2, 4)}
    for p, q in zip(net.parameters(), theirs.parameters(), strict=True):
        q.data = torch.from_numpy(torch_layout(p.data, image.get(p.name)).copy())

    sgd = optim.SGD(net.parameters(), 0.1, momentum, weight_decay)
    torch_sgd = torch.optim.SGD(theirs.parameters(), 0.1, momentum, weight_decay=weight_decay)
    schedule = optim.StepLR(sgd, step_size=4)
    torch_schedule = lr_scheduler.StepLR(torch_sgd, step_size=4)
    rng = np.random.default_rng(1)
    for _ in range(10):
        images, labels = rng.standard_normal((6, 9, 12, 3)), rng.integers(5, size=6)
        loss, dlogits = losses.softmax_cross_entropy(net.forward(images, training=True), labels)
        net.backward(dlogits)
        torch_sgd.zero_grad()
        torch_loss = torch.nn.functional.cross_entropy(theirs(nchw(images)), torch.from_numpy(labels))
        torch_loss.backward()
        assert relative_error(loss, torch_loss) <= 1e-9
        for p, q in zip(net.parameters(), theirs.parameters(), strict=True):
            assert relative_error(torch_layout(p.grad, image.get(p.name)), q.grad) <= 1e-9, p.name
        for each in (sgd, torch_sgd, schedule, torch_schedule):
            each.step()
        for p, q in zip(net.parameters(), theirs.parameters(), strict=True):
            assert relative_error(torch_layout(p.data, image.get(p.name)), q) <= 1e-9, p.name


def parameter(value=1.0, name="p", device="cpu", dtype="float64"):
    layer = layers.Linear(1, 1, bias=False).to(device, dtype)
    layer.weight.data[...] = value
    layer.weight.name = name
    return layer.weight


def run(rule, rates, gradients, device="cpu", momentum=0.9, weight_decay=0.05):
    """The values that one number takes under the rule."""
    p = parameter(1.0, device=device)
    sgd = optim.SGD([p], rates[0], momentum, weight_decay, rule=rule)
    values = []
    for lr, gradient in zip(rates, gradients, strict=True):
        sgd.groups[0].lr = lr
        p.grad = np.full((1, 1), gradient)
        sgd.step()
        values.append(p.data.item())
    return values


@devices
def test_the_two_rules_are_those_of_the_documentation(device):
    rates = [0.1, 0.1, 0.1, 0.01, 0.01, 0.02]
    gradients = np.random.default_rng(0).standard_normal(6).tolist()
    expected = {"torch": [], "2012": []}
    w, v = 1.0, 0.0
    for lr, g in zip(rates, gradients, strict=True):
        v = 0.9 * v + g + 0.05 * w
        w = w - lr * v
        expected["torch"].append(w)
    w, v = 1.0, 0.0
    for lr, g in zip(rates, gradients, strict=True):
        v = 0.9 * v - 0.05 * lr * w - lr * g
        w = w + v
        expected["2012"].append(w)

    for rule, values in expected.items():
        np.testing.assert_allclose(run(rule, rates, gradients, device), values, rtol=1e-14)
    # The same steps while the rate is constant; then the velocity of 2012 runs on, torch's is cut with the rate.
    np.testing.assert_allclose(expected["torch"][:3], expected["2012"][:3], rtol=1e-14)
    assert abs(expected["torch"][3] - expected["2012"][3]) > 1e-3


def test_after_a_drop_to_zero_only_the_velocity_of_2012_runs_on():
    first, second = run("torch", [0.1, 0.0], [1.0, 1.0], weight_decay=0)
    assert first == second
    first, second = run("2012", [0.1, 0.0], [1.0, 1.0], weight_decay=0)
    assert second - first == pytest.approx(0.9 * (first - 1.0))


def test_recipe_2012_has_two_rates_and_no_decay_on_biases():
    """The rule of the original code, weights.cu and layer-params-145.cfg, for weights and for biases."""
    net = small_net().to("cpu", "float64")
    rng = np.random.default_rng(2)
    for p in net.parameters():
        p.data[...] = rng.standard_normal(p.data.shape)
    sgd = optim.recipe_2012(net.parameters())
    expected = {p.name: (p.data.copy(), np.zeros_like(p.data)) for p in net.parameters()}
    for _ in range(2):
        for p in net.parameters():
            p.grad = rng.standard_normal(p.data.shape)
            w, v = expected[p.name]
            lr, decay = (0.01, 0.0005) if p.name.endswith("weight") else (0.02, 0)
            v = 0.9 * v - decay * lr * w - lr * p.grad
            expected[p.name] = (w + v, v)
        sgd.step()
    for p in net.parameters():
        np.testing.assert_allclose(p.data, expected[p.name][0], rtol=1e-13)


def test_float32_stays_float32():
    p = parameter(dtype="float32")
    sgd = optim.SGD([p], 0.1, momentum=0.9, weight_decay=0.1)
    p.grad = np.ones((1, 1), np.float32)
    sgd.step()
    assert p.data.dtype == sgd.velocities["p"].dtype == np.float32


def test_velocities_follow_a_network_to_another_dtype():
    p = parameter(dtype="float32")
    sgd = optim.SGD([p], 0.1, momentum=0.9)
    p.grad = np.ones((1, 1), np.float32)
    sgd.step()
    p.to(p.backend, "float64")
    p.grad = np.ones((1, 1))
    sgd.step()
    assert sgd.velocities["p"].dtype == np.float64
    assert sgd.velocities["p"].item() == pytest.approx(1.9)


# ---- schedules


def rates_of(schedule, sgd, steps, figures=None):
    rates = [[group.lr for group in sgd.groups]]
    for i in range(steps):
        schedule.step() if figures is None else schedule.step(figures[i])
        rates.append([group.lr for group in sgd.groups])
    return np.array(rates)


def torch_rates(make, steps, figures=None):
    sgd = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": 0.1}, {"params": [torch.zeros(1)], "lr": 0.02}])
    schedule = make(sgd)
    rates = [[group["lr"] for group in sgd.param_groups]]
    for i in range(steps):
        sgd.step()
        schedule.step() if figures is None else schedule.step(figures[i])
        rates.append([group["lr"] for group in sgd.param_groups])
    return np.array(rates)


def two_groups():
    return optim.SGD([optim.Group([parameter(name="a")], 0.1), optim.Group([parameter(name="b")], 0.02)])


def test_step_lr_is_torchs():
    sgd = two_groups()
    rates = rates_of(optim.StepLR(sgd, step_size=3, gamma=0.5), sgd, 10)
    expected = torch_rates(lambda s: lr_scheduler.StepLR(s, step_size=3, gamma=0.5), 10)
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_multi_step_lr_is_torchs():
    sgd = two_groups()
    rates = rates_of(optim.MultiStepLR(sgd, [6, 2, 7], gamma=0.5), sgd, 10)
    expected = torch_rates(lambda s: lr_scheduler.MultiStepLR(s, [2, 6, 7], gamma=0.5), 10)
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_any_schedule_can_be_warmed_up():
    sgd = two_groups()
    rates = rates_of(optim.Schedule(sgd, warmup=3), sgd, 5)
    np.testing.assert_allclose(rates[:, 1], [0.005, 0.01, 0.015, 0.02, 0.02, 0.02])
    sgd = two_groups()
    rates = rates_of(optim.StepLR(sgd, step_size=2, gamma=0.5, warmup=3), sgd, 5)
    np.testing.assert_allclose(rates[:, 0], [0.025, 0.05, 0.0375, 0.05, 0.025, 0.025])


def test_a_group_may_be_left_out_of_the_schedule():
    sgd = two_groups()
    sgd.groups[1].scheduled = False
    rates = rates_of(optim.StepLR(sgd, step_size=1, gamma=0.5), sgd, 2)
    np.testing.assert_allclose(rates, [[0.1, 0.02], [0.05, 0.02], [0.025, 0.02]])


def test_a_schedule_goes_on_from_its_state():
    figures = [3.0, 2.0, 2.1, 2.2, 1.9, 2.0, 2.0, 2.0]
    whole, resumed = two_groups(), two_groups()
    expected = rates_of(optim.ReduceLROnPlateau(whole, patience=0), whole, 8, figures)
    first = optim.ReduceLROnPlateau(two_groups(), patience=0)
    for figure in figures[:4]:
        first.step(figure)
    schedule = optim.ReduceLROnPlateau(resumed, patience=0)
    schedule.load_state(first.state())
    np.testing.assert_array_equal(rates_of(schedule, resumed, 4, figures[4:]), expected[4:])


def test_cosine_lr_is_torchs_and_ends_at_zero():
    sgd = two_groups()
    rates = rates_of(optim.CosineLR(sgd, total=8), sgd, 10)
    expected = torch_rates(lambda s: lr_scheduler.CosineAnnealingLR(s, T_max=8), 8)
    np.testing.assert_allclose(rates[:9], expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(rates[8:], 0)  # torch's would rise again


def test_warm_up_rises_linearly_and_then_the_cosine_begins():
    sgd = two_groups()
    rates = rates_of(optim.CosineLR(sgd, total=11, warmup=3), sgd, 11)
    np.testing.assert_allclose(rates[:4, 0], [0.025, 0.05, 0.075, 0.1])
    expected = torch_rates(lambda s: lr_scheduler.CosineAnnealingLR(s, T_max=8), 8)
    np.testing.assert_allclose(rates[3:], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("patience", [0, 2])
def test_reduce_on_plateau_is_torchs(patience):
    figures = [3.0, 2.0, 2.1, 2.2, 1.9999, 2.0, 1.5, 1.6, 1.4999, float("nan"), 1.6, 1.7, 1.8, 1.0, 1.1, 1.1, 1.1, 1.1]
    arguments = {"factor": 0.5, "patience": patience, "threshold": 1e-3}
    sgd = two_groups()
    rates = rates_of(optim.ReduceLROnPlateau(sgd, **arguments), sgd, len(figures), figures)
    expected = torch_rates(lambda s: lr_scheduler.ReduceLROnPlateau(s, **arguments), len(figures), figures)
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert rates[-1, 0] < rates[0, 0]


# ---- bad input


def test_a_step_without_a_gradient_changes_nothing():
    net = small_net()
    net.parameters()[0].grad = np.ones_like(net.parameters()[0].data)
    before = copy.deepcopy([p.data for p in net.parameters()])
    with pytest.raises(RuntimeError, match=r"SGD: 0\.bias has no gradient: step needs a backward before it"):
        optim.SGD(net.parameters()).step()
    for p, data in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, data)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"parameters": []}, ValueError, "SGD: parameters: expected at least one, got none"),
        ({"parameters": [np.zeros(3)]}, TypeError, "SGD: parameters: expected a Parameter, got ndarray"),
        (
            {"parameters": [parameter()] * 2},
            ValueError,
            "SGD: parameters: expected each parameter once, got 'p' twice",
        ),
        ({"lr": -1}, ValueError, "SGD: lr: expected a number of at least 0, got -1"),
        ({"lr": float("nan")}, ValueError, "SGD: lr: expected a number of at least 0, got nan"),
        ({"momentum": "0.9"}, ValueError, "SGD: momentum: expected a number of at least 0, got '0.9'"),
        ({"weight_decay": None}, ValueError, "SGD: weight_decay: expected a number of at least 0, got None"),
        ({"rule": "nesterov"}, ValueError, "SGD: rule: expected 'torch' or '2012', got 'nesterov'"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error) as caught:
        optim.SGD(**{"parameters": [parameter()], **arguments})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("schedule", "arguments", "message"),
    [
        (optim.StepLR, {"step_size": 0}, "StepLR: step_size: expected an integer of at least 1, got 0"),
        (optim.StepLR, {"step_size": 1, "gamma": -1}, "StepLR: gamma: expected a number of at least 0, got -1"),
        (optim.CosineLR, {"total": 2.5}, "CosineLR: total: expected an integer of at least 1, got 2.5"),
        (optim.CosineLR, {"total": 5, "warmup": 5}, "CosineLR: warmup: expected less than total (5), got 5"),
        (optim.ReduceLROnPlateau, {"factor": 1}, "ReduceLROnPlateau: factor: expected 0 <= factor < 1, got 1"),
        (
            optim.ReduceLROnPlateau,
            {"patience": -1},
            "ReduceLROnPlateau: patience: expected an integer of at least 0, got -1",
        ),
    ],
)
def test_bad_schedules(schedule, arguments, message):
    sgd = two_groups()
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the whole message follows
        schedule(sgd, **arguments)
    assert str(caught.value) == message
    assert [group.lr for group in sgd.groups] == [0.1, 0.02]


# ---- names


def chain(seed=0):
    rng = np.random.default_rng(seed)
    return layers.Sequential(
        layers.Sequential(layers.Linear(3, 3, rng=rng), layers.ReLU()), layers.Sequential(layers.Linear(3, 2, rng=rng))
    )


def one_step(net, sgd):
    net.backward(np.ones_like(net.forward(np.ones((4, 3), np.float32))))
    sgd.step()


@pytest.mark.parametrize("named", [False, True])
def test_parameters_of_parts_of_a_network_are_known_one_by_one(named):
    net = chain()
    if named:
        net.parameters()
    groups = [optim.Group(part.parameters(), lr=0.1, momentum=0.9) for part in net.children.values()]
    sgd = optim.SGD(groups)
    one_step(net, sgd)
    expected = ["0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias"]
    assert list(sgd.velocities) == (expected if named else ["0.weight", "0.bias", "0.weight (2)", "0.bias (2)"])
    whole = chain()
    one_step(whole, optim.SGD(whole.parameters(), lr=0.1, momentum=0.9))
    for p, q in zip(net.parameters(), whole.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_a_replaced_layer_begins_without_momentum():
    net = chain()
    sgd = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    one_step(net, sgd)
    kept = sgd.velocities["0.0.weight"]
    head = net.children["1"].children["0"] = layers.Linear(3, 2, rng=np.random.default_rng(1))
    sgd.groups[0].parameters = net.parameters()
    before = head.weight.data.copy()
    one_step(net, sgd)
    assert list(sgd.velocities) == ["0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias"]
    assert sgd.velocities["0.0.weight"] is kept
    np.testing.assert_allclose(head.weight.data, before - np.float32(0.1) * head.weight.grad, rtol=1e-6)


def test_a_schedule_goes_back_to_where_there_was_no_figure_yet():
    schedule = optim.ReduceLROnPlateau(two_groups(), patience=0)
    beginning = schedule.state()
    for figure in (1.0, 2.0):
        schedule.step(figure)
    schedule.check_state(beginning)
    schedule.load_state(beginning)
    assert schedule.state() == beginning
    for wrong in ({}, beginning | {"steps": None}, beginning | {"best": "1"}, beginning | {"reductions": -1}):
        with pytest.raises(ValueError, match="ReduceLROnPlateau: state: "):
            schedule.check_state(wrong)

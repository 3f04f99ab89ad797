"""The training loop: steps, evaluation, checkpoints, and NaN found by name."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from pictures import small_network
from small_training import PREPARATION, RECIPE, assert_same, new_trainer, pictures, train, weights_of, without_times

from alexnet_np import generators, metrics, models, optim, training
from alexnet_np.averaging import WeightAverage
from alexnet_np.data import Loader
from alexnet_np.recipe import Recipe
from alexnet_np.step import NotFiniteError, Step


@pytest.fixture
def batch():
    return next(Loader(pictures(24), PREPARATION, 6).batches())


# ---- epochs


def test_it_learns():
    trainer = train(new_trainer(replace(RECIPE, epochs=12)))
    assert trainer.history[-1].test_accuracy == 1.0
    assert trainer.history[-1].train_loss < 0.5 * trainer.history[0].train_loss


def test_the_history_says_what_happened():
    trainer = train(new_trainer())
    assert [row.epoch for row in trainer.history] == [1, 2, 3]
    rates = [row.lr for row in trainer.history]
    assert rates[0] == pytest.approx(0.02 * 4 / 5)  # four steps an epoch, one epoch of warm-up
    assert 0.02 > rates[1] > rates[2] > 0
    result = metrics.evaluate(trainer.net, trainer.test.batches())
    assert (trainer.history[-1].test_loss, trainer.history[-1].test_accuracy) == (result.loss, result.top1)
    assert all(row.images_per_second > 0 and 0 <= row.waiting <= 1 for row in trainer.history)


def test_the_same_seed_gives_the_same_bits():
    first, again = (train(new_trainer()) for _ in range(2))
    assert_same(weights_of(first.net), weights_of(again.net))
    assert without_times(first.history) == without_times(again.history)
    other = train(new_trainer(replace(RECIPE, seed=5)))
    assert other.history[0].train_loss != first.history[0].train_loss


def test_an_epoch_cannot_end_before_its_steps():
    trainer = new_trainer()
    next(trainer.steps())
    with pytest.raises(RuntimeError, match="expected 4 steps before it, got 1"):
        trainer.end_epoch(metrics.Evaluation(1, 0.0, 0.0, 0.0, np.eye(3)))


# ---- evaluation


def test_evaluation_is_the_mean_over_all_images():
    net = small_network()
    batches = list(Loader(pictures(9, seed=1), PREPARATION, 4).batches())  # 4, 4 and 1
    result = metrics.evaluate(net, batches)

    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    logits = net.forward(images)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert result.images == 9
    assert result.loss == pytest.approx(-log_p[np.arange(9), labels].mean(), rel=1e-5)
    assert result.top1 == pytest.approx((logits.argmax(axis=1) == labels).mean())
    assert result.top5 == 1.0  # of three classes


def test_top5_counts_the_five_largest():
    class Fixed:
        backend, device, dtype, num_classes = small_network().backend, "cpu", np.float32, 7

        def logits(self, x, keep):
            return np.array([[9, 8, 7, 6, 5, 4, 3], [1, 2, 3, 4, 5, 6, 7]], np.float32)

    result = metrics.evaluate(Fixed(), [(np.zeros((2, 1, 1, 3)), np.array([4, 1]))])
    assert (result.top1, result.top5) == (0.0, 0.5)


def test_the_confusion_matrix_counts_true_classes_in_rows():
    net = small_network()
    net.state_dict()["classifier.4.weight"][...] = 0
    net.state_dict()["classifier.4.bias"][...] = [0, 1, 0]  # green, always
    result = metrics.evaluate(net, Loader(pictures(8), PREPARATION, 5).batches())
    np.testing.assert_array_equal(result.confusion, [[0, 3, 0], [0, 3, 0], [0, 2, 0]])
    np.testing.assert_array_equal(result.class_accuracy, [0, 1, 0])
    assert result.top1 == 3 / 8
    only_green = metrics.Evaluation(3, 0.0, 1.0, 1.0, np.diag([0, 3, 0]))
    np.testing.assert_array_equal(only_green.class_accuracy, [np.nan, 1, np.nan])


def test_evaluation_keeps_nothing_for_backward(batch):
    net = small_network()
    metrics.evaluate(net, [batch])
    metrics.probabilities(net, batch[0])
    assert not any(layer.has_saved for _, layer in net.walk())


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="expected at least one, got none"):
        metrics.evaluate(small_network(), [])


def test_probabilities_are_the_softmax_of_the_logits(batch):
    net = small_network()
    p = metrics.probabilities(net, batch[0])
    e = np.exp(net.forward(batch[0]))
    np.testing.assert_allclose(p, e / e.sum(axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize(
    ("num_classes", "loss", "warns"), [(10, 2.31, False), (10, 9.0, True), (10, 0.1, True), (2, 0.7, False)]
)
def test_a_first_loss_far_from_ln_k_is_told(num_classes, loss, warns):
    warning = training.unlikely_first_loss(loss, num_classes)
    assert bool(warning) == warns
    if warning:
        assert f"ln {num_classes} = {log(num_classes):.3f}" in warning


def test_a_new_alexnet_has_the_first_loss_of_one_that_knows_nothing():
    net = models.alexnet(num_classes=3)
    images, labels = next(Loader(pictures(24), PREPARATION, 3).batches())
    result = metrics.evaluate(net, [(images, labels)])
    assert training.unlikely_first_loss(result.loss, 3) is None


# ---- what the recipe says


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_a_batch_in_parts_is_the_same_step(parts):
    """Within rounding, also for the last batch of an epoch, whose three pictures make parts of other sizes."""
    whole = train(new_trainer(RECIPE, dropout=0))
    split = train(new_trainer(replace(RECIPE, accumulate=parts), dropout=0))
    for name, w in whole.net.state_dict().items():
        np.testing.assert_allclose(split.net.state_dict()[name], w, rtol=1e-4, atol=1e-6, err_msg=name)
    assert split.history[-1].train_loss == pytest.approx(whole.history[-1].train_loss, rel=1e-5)
    assert split.history[-1].train_accuracy == whole.history[-1].train_accuracy


def test_label_smoothing_reaches_the_loss(batch):
    images, labels = batch
    net = small_network(dropout=0)
    logits = net.forward(images)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -(0.7 * log_p[np.arange(6), labels] + 0.1 * log_p.sum(axis=1)).mean()  # 0.3 / 3 for each class
    trainer = new_trainer(replace(RECIPE, label_smoothing=0.3), dropout=0)
    assert float(trainer.step(images, labels)[0]) != pytest.approx(float(expected), rel=1e-3)  # other weights
    trainer.net.load_state_dict(net.state_dict())
    assert float(trainer.step(images, labels)[0]) == pytest.approx(float(expected), rel=1e-5)


def test_without_bias_decay_only_weights_shrink():
    trainer = new_trainer(replace(RECIPE, weight_decay=0.1, bias_decay=False))
    before = weights_of(trainer.net)
    for p in trainer.net.parameters():
        p.grad = np.zeros_like(p.data)
    trainer.sgd.step()
    for name, w in trainer.net.state_dict().items():
        rate = trainer.sgd.lr * 0.1 if name.endswith("weight") else 0
        np.testing.assert_allclose(w, (1 - rate) * before[name], rtol=1e-6)


def test_the_average_of_the_weights_is_that_of_its_formula_and_is_tested():
    trainer = new_trainer(replace(RECIPE, ema=0.4))
    expected = weights_of(trainer.net)
    for t, _ in enumerate(trainer.steps(), 1):
        d = min(0.4, (1 + t) / (10 + t))
        expected = {name: d * e + (1 - d) * trainer.net.state_dict()[name] for name, e in expected.items()}
    own = weights_of(trainer.net)
    result = trainer.evaluate(trainer.test.batches())
    assert_same(weights_of(trainer.net), own)  # they are back

    for name, e in expected.items():
        np.testing.assert_allclose(trainer.average.arrays[name], e, rtol=1e-5, atol=1e-7)
    trainer.net.load_state_dict(expected)
    assert result.loss == pytest.approx(metrics.evaluate(trainer.net, trainer.test.batches()).loss, rel=1e-5)
    assert metrics.evaluate(small_network(seed=4), trainer.test.batches()).loss != pytest.approx(result.loss, rel=1e-4)


def test_the_weights_are_back_when_a_test_of_their_average_fails():
    average = WeightAverage(small_network(), 0.9)
    average.arrays["features.0.bias"][...] = 7
    before = weights_of(average.net)
    with pytest.raises(ValueError, match="at least one"), average.in_place():
        metrics.evaluate(average.net, [])
    assert_same(weights_of(average.net), before)


def evaluation(top1, loss=1.0):
    return metrics.Evaluation(9, loss, top1, 1.0, np.eye(3))


def finish_epochs(trainer, results):
    for result in results:
        for _ in trainer.steps():
            pass
        trainer.end_epoch(result)


def test_early_stopping_waits_for_something_better():
    trainer = new_trainer(replace(RECIPE, epochs=9, early_stopping=2))
    results = [evaluation(0.5), evaluation(0.4), evaluation(0.5, loss=0.9), evaluation(0.5, loss=0.9)]
    finish_epochs(trainer, results)
    assert not trainer.finished
    assert trainer.best.epoch == 3  # as many right as in the first, but with a lower loss
    finish_epochs(trainer, [evaluation(0.4)])
    assert trainer.finished
    assert trainer.stopped_early
    assert trainer.best.epoch == 3


def test_without_early_stopping_a_run_goes_on_to_its_last_epoch():
    trainer = new_trainer(RECIPE)
    finish_epochs(trainer, [evaluation(0.5), evaluation(0.4), evaluation(0.3)])
    assert (trainer.finished, trainer.stopped_early) == (True, False)
    assert trainer.best.epoch == 1


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        ("constant", 3, [0.01, 0.02, 0.02]),
        ("step", 6, [0.01, 0.02, 0.01, 0.01, 0.005, 0.005]),  # every two epochs, counted from the first
        ("2012", 9, [0.01, 0.02, 0.01, 0.01, 0.01, 0.005, 0.005, 0.005, 0.0025]),  # after 25/90, 51/90, 79/90 of 9
        ("cosine", 3, [0.01, 0.02 * (1 + np.cos(np.pi / 6)) / 2, 0.005]),
    ],
)
def test_schedules_count_in_epochs(schedule, epochs, expected):
    """The rate in the middle of each epoch; the first is the warm-up."""
    recipe = replace(RECIPE, epochs=epochs, schedule=schedule, step_epochs=2, gamma=0.5)
    sgd = recipe.new_optimizer(small_network().parameters())
    schedule, rates = recipe.new_schedule(sgd, 3), []  # three steps an epoch
    for _ in range(3 * epochs):
        rates.append(sgd.lr)
        schedule.step()
    np.testing.assert_allclose(rates[1::3], expected)


def test_plateau_lowers_the_rate_when_the_test_error_stays():
    trainer = new_trainer(replace(RECIPE, epochs=9, schedule="plateau", patience=1, gamma=0.5))
    finish_epochs(trainer, [evaluation(0.5), evaluation(0.4), evaluation(0.5)])
    assert [row.lr for row in trainer.history] == pytest.approx([0.016, 0.02, 0.02])
    finish_epochs(trainer, [evaluation(0.6)])
    assert trainer.history[-1].lr == pytest.approx(0.01)


def test_the_optimizer_of_2012_has_its_rule_and_rates():
    sgd = replace(RECIPE, optimizer="2012", schedule="2012", epochs=90).new_optimizer(small_network().parameters())
    assert sgd.rule == "2012"
    assert [(group.lr, group.weight_decay) for group in sgd.groups] == [(0.02, 5e-4), (0.04, 0.0)]
    schedule = replace(RECIPE, schedule="2012", epochs=90, warmup=0).new_schedule(sgd, 1)
    rates = []
    for _ in range(90):
        rates.append([group.lr for group in sgd.groups])
        schedule.step()
    falls = [epoch for epoch in range(1, 90) if rates[epoch][0] < rates[epoch - 1][0]]
    assert falls == [25, 51, 79]
    assert {bias for _, bias in rates} == {0.04}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "Recipe: epochs: expected an integer of at least 1, got 0"),
        ({"ema": 1}, "Recipe: ema: expected less than 1, got 1"),
        ({"label_smoothing": -0.1}, "Recipe: label_smoothing: expected a probability from 0 to 1, got -0.1"),
        ({"schedule": "cosin"}, "Recipe: schedule: expected one of cosine, step, plateau, constant, 2012, got 'cosin'"),
        ({"epochs": 2, "warmup": 2}, "Recipe: warmup: expected less than epochs (2), got 2"),
        ({"batch_size": 4, "accumulate": 5}, "Recipe: accumulate: expected at most batch_size (4), got 5"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(values, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the whole message follows
        Recipe(**values)
    assert str(caught.value) == message


# ---- NaN and infinity


def step(net, images, labels):
    return Step(net, optim.SGD(net.parameters(), lr=0.01))(images, labels)


def test_nan_in_the_images_is_said(batch):
    images, labels = batch
    images = images.copy()
    images[2, 3, 4, 1] = np.nan
    with pytest.raises(NotFiniteError, match="in the images"):
        step(small_network(), images, labels)


def test_nan_in_the_weights_is_said_by_name(batch):
    net = small_network()
    net.state_dict()["classifier.1.weight"][3, 2] = np.nan
    with pytest.raises(NotFiniteError, match=r"in classifier\.1\.weight"):
        step(net, *batch)


@pytest.mark.parametrize("device", ["reference", "cpu"])
def test_an_overflow_in_forward_is_said_by_layer(batch, device):
    net = small_network().to(device)
    net.state_dict()["features.0.weight"][...] = 1e38
    net.state_dict()["classifier.1.weight"][...] = 1e38
    with pytest.raises(NotFiniteError, match=r"forward pass of features\.0, Conv2d\(3, 8\)"):
        step(net, 1e3 * np.abs(batch[0]), batch[1])
    net.state_dict()["features.0.weight"][...] = 1e-2
    with pytest.raises(NotFiniteError, match=r"forward pass of classifier\.1, Linear\(32, 16\)"):
        step(net, 1e3 * np.abs(batch[0]), batch[1])


def test_the_step_is_repeated_with_its_own_masks(batch):
    net = small_network()
    net.state_dict()["features.0.weight"][...] = 1e38
    before = generators.states(net)
    with pytest.raises(NotFiniteError, match=r"features\.0"):
        step(net, 1e3 * batch[0], batch[1])
    assert generators.states(net) == before  # reset, and not drawn from before the layer that is named


def test_nan_in_backward_is_said_by_layer_and_the_weights_stay(batch, monkeypatch):
    net = small_network().to("reference")  # every layer by itself
    pool = net.children["features"][2]
    backward = pool.backward

    def broken(dy, accumulate=False, input_grad=True):
        dx = backward(dy, accumulate, input_grad).copy()
        dx[0, 0, 0] = np.nan
        return dx

    monkeypatch.setattr(pool, "backward", broken)
    # The ReLU before the pool must pass it on.
    net.children["features"][0].bias.data[...] = 100
    before = weights_of(net)
    with pytest.raises(NotFiniteError, match=r"backward pass of features\.2, MaxPool2d"):
        step(net, *batch)
    assert_same(weights_of(net), before)


def test_a_run_says_where_it_was():
    trainer = train(new_trainer(), 5)
    trainer.net.state_dict()["features.0.bias"][0] = np.inf
    with pytest.raises(NotFiniteError, match=r"epoch 2, step 2: NaN or infinity in features\.0\.bias"):
        next(trainer.steps())

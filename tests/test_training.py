"""The training loop: steps, evaluation, checkpoints, and NaN found by name."""

from dataclasses import asdict, replace
from math import log

import numpy as np
import pytest
from pictures import COLOURS, colour, small_network

from alexnet_np import losses, models, optim, training
from alexnet_np.data import Arrays, Preparation
from alexnet_np.training import NotFiniteError, Recipe, Trainer

PREPARATION = Preparation.photographs(64)
RECIPE = Recipe(epochs=3, batch_size=7, lr=0.02, warmup=1, seed=4)


def pictures(number, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 3
    names = list(COLOURS)
    return Arrays(np.stack([colour(names[label], rng) for label in labels]), labels, names)


@pytest.fixture(scope="module")
def train_set():
    return pictures(24)


@pytest.fixture(scope="module")
def test_set():
    return pictures(9, seed=1)


@pytest.fixture
def batch(train_set):
    return next(training.Loader(train_set, PREPARATION, 6).batches())


def new_trainer(train_set, test_set, recipe=RECIPE):
    return Trainer(small_network(seed=recipe.seed), train_set, test_set, PREPARATION, recipe)


def train(trainer, stop_after=None):
    """To the end, or for some steps."""
    steps = 0
    while not trainer.finished:
        for _ in trainer.steps():
            steps += 1
            if steps == stop_after:
                return trainer
        trainer.end_epoch(training.evaluate(trainer.net, trainer.test.batches()))
    return trainer


def weights_of(net):
    return {name: array.copy() for name, array in net.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def without_times(history):
    timed = ("images_per_second", "waiting", "seconds")
    return [{name: value for name, value in asdict(row).items() if name not in timed} for row in history]


# ---- steps


def test_a_step_is_forward_loss_backward_and_update(batch):
    images, labels = batch
    net, twin = small_network(), small_network()  # of the same seed, so with the same dropout masks
    sgd = optim.SGD(net.parameters(), lr=0.1, weight_decay=0.01)
    loss, correct = training.train_step(net, sgd, images, labels)

    logits = twin.forward(images, training=True)
    expected, dlogits = losses.softmax_cross_entropy(logits, labels)
    twin.backward(dlogits)
    assert loss == pytest.approx(float(expected), rel=1e-6)
    assert correct == (logits.argmax(axis=1) == labels).sum()
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data - 0.1 * (q.grad + 0.01 * q.data), rtol=0, atol=1e-6)


def test_it_learns(train_set, test_set):
    trainer = train(new_trainer(train_set, test_set, replace(RECIPE, epochs=12)))
    assert trainer.history[-1].test_accuracy == 1.0
    assert trainer.history[-1].train_loss < 0.5 * trainer.history[0].train_loss


def test_the_history_says_what_happened(train_set, test_set):
    trainer = train(new_trainer(train_set, test_set))
    assert [row.epoch for row in trainer.history] == [1, 2, 3]
    rates = [row.lr for row in trainer.history]
    assert rates[0] == pytest.approx(0.02 * 4 / 5)  # four steps an epoch, one epoch of warm-up
    assert 0.02 > rates[1] > rates[2] > 0
    result = training.evaluate(trainer.net, trainer.test.batches())
    assert (trainer.history[-1].test_loss, trainer.history[-1].test_accuracy) == (result.loss, result.top1)
    assert all(row.images_per_second > 0 and 0 <= row.waiting <= 1 for row in trainer.history)


def test_the_same_seed_gives_the_same_bits(train_set, test_set):
    first, again = (train(new_trainer(train_set, test_set)) for _ in range(2))
    assert_same(weights_of(first.net), weights_of(again.net))
    assert without_times(first.history) == without_times(again.history)
    other = train(new_trainer(train_set, test_set, replace(RECIPE, seed=5)))
    assert other.history[0].train_loss != first.history[0].train_loss


def test_an_epoch_cannot_end_before_its_steps(train_set, test_set):
    trainer = new_trainer(train_set, test_set)
    next(trainer.steps())
    with pytest.raises(RuntimeError, match="expected 4 steps before it, got 1"):
        trainer.end_epoch(training.Evaluation(1, 0.0, 0.0, 0.0))


# ---- evaluation


def test_evaluation_is_the_mean_over_all_images(test_set):
    net = small_network()
    batches = list(training.Loader(test_set, PREPARATION, 4).batches())  # 4, 4 and 1
    result = training.evaluate(net, batches)

    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    logits = net.forward(images)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert result.images == 9
    assert result.loss == pytest.approx(-log_p[np.arange(9), labels].mean(), rel=1e-5)
    assert result.top1 == pytest.approx((logits.argmax(axis=1) == labels).mean())
    assert result.top5 == 1.0  # of three classes


def test_top5_counts_the_five_largest():
    class Fixed:
        backend, dtype = small_network().backend, np.float32

        def logits(self, x, keep):
            return np.array([[9, 8, 7, 6, 5, 4, 3], [1, 2, 3, 4, 5, 6, 7]], np.float32)

    result = training.evaluate(Fixed(), [(np.zeros((2, 1, 1, 3)), np.array([4, 1]))])
    assert (result.top1, result.top5) == (0.0, 0.5)


def test_evaluation_keeps_nothing_for_backward(batch):
    net = small_network()
    training.evaluate(net, [batch])
    training.probabilities(net, batch[0])
    assert not any(layer.has_saved for _, layer in net.walk())


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="expected at least one, got none"):
        training.evaluate(small_network(), [])


def test_probabilities_are_the_softmax_of_the_logits(batch):
    net = small_network()
    p = training.probabilities(net, batch[0])
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


def test_a_new_alexnet_has_the_first_loss_of_one_that_knows_nothing(train_set):
    net = models.alexnet(num_classes=3)
    images, labels = next(training.Loader(train_set, PREPARATION, 3).batches())
    result = training.evaluate(net, [(images, labels)])
    assert training.unlikely_first_loss(result.loss, 3) is None


# ---- checkpoints


@pytest.mark.parametrize("stop_after", [1, 4, 6, 11])  # in the first epoch, at its end, later, before the last step
def test_a_run_that_was_stopped_and_resumed_has_the_bits_of_one_that_was_not(tmp_path, train_set, test_set, stop_after):
    whole = train(new_trainer(train_set, test_set))

    stopped = train(new_trainer(train_set, test_set), stop_after)
    stopped.save(tmp_path / "checkpoint")
    resumed = new_trainer(train_set, test_set, replace(RECIPE))
    for p in resumed.net.parameters():
        p.data[...] = 7  # nothing may be left of these
    resumed.load(tmp_path / "checkpoint")
    train(resumed)

    assert_same(weights_of(resumed.net), weights_of(whole.net))
    assert_same(resumed.sgd.velocities, whole.sgd.velocities)
    assert without_times(resumed.history) == without_times(whole.history)


def test_a_checkpoint_appears_whole_or_not_at_all(tmp_path, train_set, test_set, monkeypatch):
    trainer = train(new_trainer(train_set, test_set), 2)
    trainer.save(tmp_path / "checkpoint")
    before = (tmp_path / "checkpoint").read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        trainer.save(tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_weights_of_a_checkpoint_can_be_had_alone(tmp_path, train_set, test_set):
    trainer = train(new_trainer(train_set, test_set), 2)
    trainer.save(tmp_path / "checkpoint")
    net = small_network(seed=99)
    training.load_checkpoint_weights(net, tmp_path / "checkpoint")
    assert_same(weights_of(net), weights_of(trainer.net))


def test_what_is_no_checkpoint_is_refused_and_changes_nothing(tmp_path, train_set, test_set):
    trainer = train(new_trainer(train_set, test_set), 2)
    path = tmp_path / "checkpoint"
    trainer.save(path)
    other = Trainer(small_network(num_classes=4), train_set, test_set, PREPARATION, RECIPE)
    before = weights_of(other.net)
    with pytest.raises(ValueError, match=r"classifier\.4\.weight: expected shape \(16, 4\), got \(16, 3\)"):
        other.load(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a checkpoint, or not a whole one"):
        other.load(path)
    path.write_text("no checkpoint")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        other.load(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        other.load(tmp_path / "nowhere")
    assert_same(weights_of(other.net), before)
    assert (other.epoch, other.batch) == (0, 0)


# ---- NaN and infinity


def step(net, images, labels):
    return training.train_step(net, optim.SGD(net.parameters(), lr=0.01), images, labels)


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
    before = training.dropout_states(net)
    with pytest.raises(NotFiniteError, match=r"features\.0"):
        step(net, 1e3 * batch[0], batch[1])
    assert training.dropout_states(net) == before  # reset, and not drawn from before the layer that is named


def test_nan_in_backward_is_said_by_layer_and_the_weights_stay(batch, monkeypatch):
    net = small_network()
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


def test_a_run_says_where_it_was(train_set, test_set):
    trainer = train(new_trainer(train_set, test_set), 5)
    trainer.net.state_dict()["features.0.bias"][0] = np.inf
    with pytest.raises(NotFiniteError, match=r"epoch 2, step 2: NaN or infinity in features\.0\.bias"):
        next(trainer.steps())

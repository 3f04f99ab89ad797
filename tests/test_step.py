"""The training step: eager on a CPU, eager and recorded on a GPU that is only pretended."""

import sys
from importlib import import_module

import numpy as np
import pytest
from pictures import COLOURS, colour, small_network
from pretended_gpu import (
    DEFAULT_POOL,
    POOLS,
    CUDARuntimeError,
    Graph,
    gpu_book_problem,
    pretend,
    pretend_with_gpu_book,
)

from alexnet_np import generators, layers, losses, optim
from alexnet_np.data import Arrays, Preparation
from alexnet_np.inference import Inference
from alexnet_np.metrics import evaluate
from alexnet_np.step import NotFiniteError, Step
from alexnet_np.training import Recipe, Trainer

H, W = 67, 75


def batches(number, N=6, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal((N, H, W, 3), dtype=np.float32), rng.integers(3, size=N)) for _ in range(number)]


def new(device="cpu", lr=0.05, dropout=0.0, rule="torch", **step):
    """A step of a small network, which has the same weights each time."""
    net = small_network(dropout=dropout).to(device)
    return Step(net, optim.SGD(net.parameters(), lr, momentum=0.9, weight_decay=0.01, rule=rule), **step)


def weights(step):
    return {p.name: np.array(p.data) for p in step.net.parameters()}


def assert_same(one, other, rtol=0.0):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=rtol, atol=rtol, err_msg=name)


@pytest.fixture
def gpu(monkeypatch):
    pretend(monkeypatch)


def losses_of(step, given, change=lambda step, number: None):
    """Train; the losses and the numbers of right answers."""
    results = []
    for number, (images, labels) in enumerate(given):
        change(step, number)
        loss, correct = step(images, labels)
        results.append((loss, correct))
    return [(float(loss), int(correct)) for loss, correct in results]  # read at the end: nothing may write over them


# ---- on a CPU


@pytest.mark.parametrize("device", ["reference", "cpu"])
def test_a_step_is_forward_loss_backward_and_update(device):
    [(images, labels)] = batches(1)
    step, twin = new(device, dropout=0.5), new(device, dropout=0.5)  # of the same seed, so with the same masks
    loss, correct = step(images, labels)

    logits = twin.net.forward(images, training=True)
    expected, dlogits = losses.softmax_cross_entropy(logits, labels)
    twin.net.backward(dlogits)
    twin.sgd.step()
    assert (loss, correct) == (float(expected), losses.top_k_correct(logits, labels, 1).sum())
    assert_same(weights(step), weights(twin))


def test_right_answers_are_those_that_stand_alone():
    step = new()
    last = step.net.children["classifier"][4]
    for number, bias in ((4, [0, 1, 2]), (0, [0, 2, 2]), (0, [0, 1, np.inf])):
        for p, value in zip(last.parameters(), (0, bias), strict=True):
            p.data[...] = value
        images, labels = batches(1)[0][0], np.array([2, 1, 2, 2, 0, 2])
        try:
            assert step(images, labels)[1] == number
        except NotFiniteError:
            assert np.inf in bias


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.array([0, 1, 3]), "Step: labels: expected 0 to 2, got 3"),
        (np.array([0, -1, 1]), "Step: labels: expected 0 to 2, got -1"),
        (np.array([0, 1]), "Step: labels: expected 3 integers, got int64 of shape (2,)"),
        (np.array([0.0, 1, 2]), "Step: labels: expected 3 integers, got float64 of shape (3,)"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_labels_are_looked_at_before_anything_is_computed(gpu, device, labels, sentence):
    step = new(device)
    before = weights(step)
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the whole sentence is compared
        step(batches(1, N=3)[0][0], labels)
    assert str(caught.value) == sentence
    assert_same(weights(step), before)


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="Network: expected images"):
        new()(np.zeros((2, 9, 9, 3), np.float32), np.array([0, 1]))


def test_on_a_cpu_nan_is_raised_before_the_update():
    step = new(dropout=0.5)
    [(images, labels)] = batches(1)
    step(images, labels)
    before, masks = weights(step), generators.states(step.net)
    velocities = {name: v.copy() for name, v in step.sgd.velocities.items()}
    images = images.copy()
    images[2, 3, 4, 1] = np.nan
    with pytest.raises(NotFiniteError, match="in the images"):
        step(images, labels)
    assert_same(weights(step), before)
    assert_same(step.sgd.velocities, velocities)
    assert generators.states(step.net) == masks


# ---- on a GPU


@pytest.mark.parametrize("rule", ["torch", "2012"])
@pytest.mark.parametrize("graph", [False, True])
def test_a_gpu_takes_the_steps_of_the_reference_book(gpu, graph, rule):
    given = batches(5)
    step, expected = new("gpu", rule=rule, graph=graph), new("reference", rule=rule)
    assert losses_of(step, given) == losses_of(expected, given)
    assert_same(weights(step), weights(expected))
    assert Graph.launches == (4 if graph else 0)  # the first prepares


def test_each_batch_size_has_its_recording(gpu):
    big, small = batches(3), batches(3, N=2, seed=1)
    given = [batch for pair in zip(big, small, strict=True) for batch in pair]
    step, expected = new("gpu"), new("reference")
    assert losses_of(step, given) == losses_of(expected, given)
    assert_same(weights(step), weights(expected))
    assert Graph.launches == 4


def test_gradients_are_those_of_the_step_that_came_last(gpu):
    """And not of the one that was recorded last."""
    step, expected = new("gpu"), new("reference")
    for images, labels in [*batches(2), *batches(2, N=2, seed=1), *batches(1, seed=2)]:
        step(images, labels)
        expected(images, labels)
        gradients = [{p.name: np.array(p.grad) for p in s.net.parameters()} for s in (step, expected)]
        assert_same(*gradients)


def test_rates_reach_the_recording(gpu):
    def change(step, number):
        step.sgd.groups[0].lr = [0.05, 0.04, 0.2, 0.0, 0.01][number]

    given = batches(5)
    step, expected = new("gpu"), new("reference")
    losses_of(step, given, change)
    losses_of(expected, given, change)
    assert_same(weights(step), weights(expected), rtol=1e-6)  # on the device a rate is a float32
    assert Graph.launches == 4
    assert step.sgd.lr == 0.01  # a number, as it was


def test_what_a_recording_cannot_follow_is_recorded_anew(gpu):
    def change(step, number):
        if number == 2:
            step.sgd.groups[0].momentum = 0.5
        if number == 4:
            step.sgd.groups[0].weight_decay = 0.1
        if number == 6:  # as a checkpoint does
            step.sgd.velocities = {name: 2 * v for name, v in step.sgd.velocities.items()}
        if number == 8:
            step.sgd.velocities = {}
        if number == 10:
            device = step.net.device
            step.net.to("reference").to(device)

    given = batches(13)
    step, expected = new("gpu"), new("reference")
    assert losses_of(step, given, change) == losses_of(expected, given, change)
    assert_same(weights(step), weights(expected))
    assert Graph.launches == 7  # of 13: each change costs a step that prepares


def test_a_network_may_change_its_dtype_between_steps(gpu):
    step, expected = new("gpu"), new("reference")
    given = batches(3)
    losses_of(step, given)
    losses_of(expected, given)
    for one in (step, expected):
        one.net.to(one.net.device, "float64")
    wider = [(images.astype(np.float64), labels) for images, labels in batches(3, seed=1)]
    assert losses_of(step, wider) == losses_of(expected, wider)
    assert_same(weights(step), weights(expected))
    assert Graph.launches == 4


def test_weights_that_are_loaded_into_their_place_need_no_new_recording(gpu):
    def change(step, number):
        if number == 2:
            step.net.load_state_dict({name: 0.5 * value for name, value in start.items()})

    start = weights(new())
    step, expected = new("gpu"), new("reference")
    given = batches(4)
    assert losses_of(step, given, change) == losses_of(expected, given, change)
    assert Graph.launches == 3


def test_each_replay_draws_new_masks(gpu):
    step = new("gpu", lr=0.0, dropout=0.5)
    found = losses_of(step, 6 * batches(1))
    assert Graph.launches == 5
    assert len(set(found)) == 6


def test_another_probability_of_dropout_is_recorded(gpu):
    step = new("gpu", lr=0.0, dropout=0.5)
    losses_of(step, 3 * batches(1))
    for _, layer in step.net.walk():
        if isinstance(layer, layers.Dropout):
            layer.p = 0.0
    assert len(set(losses_of(step, 3 * batches(1)))) == 1


@pytest.mark.parametrize(("change", "launches"), [("setting", 4), ("layer", 4), ("forward", 5)])
def test_settings_and_layers_are_followed_and_a_forward_in_between_is_not(gpu, change, launches):
    """Of 6 steps the first prepares, and one more where something fixed has changed."""
    step, expected = new("gpu"), new("reference")
    given = batches(6)
    assert losses_of(step, given[:3]) == losses_of(expected, given[:3])
    for one in (step, expected):
        pool = one.net.children["features"].children["2"]
        if change == "setting":
            pool.ties = "all"
        elif change == "layer":
            one.net.children["features"].children["2"] = layers.MaxPool2d(2).to(one.net.device)
        else:
            one.net.forward(one.net.backend.asarray(given[0][0]))
    assert losses_of(step, given[3:]) == losses_of(expected, given[3:])
    assert_same(weights(step), weights(expected))
    assert Graph.launches == launches


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("where", ["images", "weights"])
def test_a_step_that_is_not_finite_is_skipped(gpu, graph, where):
    """Unlike on a CPU nobody waits for it; the next step goes on from the weights before it."""
    given = batches(5)
    step, expected = new("gpu", graph=graph), new("reference")
    losses_of(step, given[:3])
    losses_of(expected, given[:3])
    images, labels = given[3][0].copy(), given[3][1]
    before = weights(step)
    if where == "images":
        images[1, 2, 3, 0] = np.inf
        sentence = "NaN or infinity in the images"
    else:
        step.net.parameters()[0].data[...] = 3e38
        before = weights(step)
        sentence = r"first appears in the forward pass of features\.0, Conv2d\(3, 8\)"
    loss, _ = step(images, labels)
    assert np.isnan(float(loss))
    assert_same(weights(step), before)
    with pytest.raises(NotFiniteError, match=sentence):
        step.raise_if_skipped(loss, images, labels)
    step.net.load_state_dict(weights(expected))
    assert losses_of(step, given[4:]) == losses_of(expected, given[4:])
    assert_same(weights(step), weights(expected))


def test_infinity_in_backward_alone_is_seen_too(gpu, monkeypatch):
    step, [(images, labels)] = new("gpu", graph=False), batches(1)
    layer = step.net.children["features"][3]
    backward = layer.backward
    monkeypatch.setattr(layer, "backward", lambda dy, *args: backward(dy, *args) + np.float32(np.inf))
    before = weights(step)
    loss, _ = step(images, labels)
    assert np.isnan(float(loss))
    assert_same(weights(step), before)


def test_a_loss_that_is_finite_raises_nothing(gpu):
    for device in ("gpu", "cpu"):
        step, (images, labels) = new(device), batches(1)[0]
        loss, _ = step(images, labels)
        step.raise_if_skipped(loss, images, labels)


def test_a_recording_that_fails_leaves_all_as_it_was(gpu, monkeypatch):
    """Whoever reads a number in the middle of a step cannot be recorded."""
    step, expected = new("gpu"), new("reference")
    given = batches(3)
    losses_of(step, given[:1])
    losses_of(expected, given[:1])
    pool = step.net.children["features"][3]
    forward = pool.forward
    with monkeypatch.context() as patch:
        patch.setattr(pool, "forward", lambda x, training=False: forward(x + 0 * float(x.sum()), training))
        with pytest.raises(RuntimeError, match="the current stream is capturing"):
            step(*given[1])
    assert step.sgd.lr == 0.05
    assert losses_of(step, given[1:]) == losses_of(expected, given[1:])
    assert_same(weights(step), weights(expected))


def pools_of_recordings():
    return [pool for pool in POOLS if pool is not DEFAULT_POOL]


@pytest.mark.parametrize("book", [pretend, pretend_with_gpu_book])
def test_a_step_that_is_gone_has_given_its_memory_back(monkeypatch, book):
    """The network's gradients lay in it; those that somebody else has stay."""
    if book is pretend_with_gpu_book and (sentence := gpu_book_problem()):
        pytest.skip(sentence)
    book(monkeypatch)
    step = new("gpu", dropout=0.5)
    losses_of(step, [*batches(3), *batches(3, N=2, seed=1)])
    assert len(pools_of_recordings()) == 1
    net, mine = step.net, step.net.parameters()[3].grad
    own = net.parameters()[0]
    own.grad = own.backend.asarray(np.ones_like(own.data.get()))  # of a backward that was not the step's
    kept = mine.get()
    del step
    assert [p.grad for p in net.parameters() if p is not own] == [None] * (len(net.parameters()) - 1)
    assert own.grad.sum() == own.data.size
    assert len(pools_of_recordings()) == 1
    np.testing.assert_array_equal(mine.get(), kept)
    del mine
    assert not pools_of_recordings()


def test_a_recording_that_finds_no_memory_leaves_others_theirs(gpu, monkeypatch):
    """CuPy's pool would make room by freeing what they use in each replay."""
    step, expected = new("gpu"), new("reference")
    given, small = batches(6), batches(3, N=2, seed=1)
    assert losses_of(step, [*given[:3], small[0]]) == losses_of(expected, [*given[:3], small[0]])
    with monkeypatch.context() as patch:

        def full(size):
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")

        patch.setattr(sys.modules["cupy"].cuda, "Memory", full)
        with pytest.raises(MemoryError, match=r"expected [0-9,]+ bytes more of its memory, got cudaErrorMemory"):
            step(*small[1])
        assert losses_of(step, given[3:4]) == losses_of(expected, given[3:4])
    assert losses_of(step, [*small[1:], *given[4:]]) == losses_of(expected, [*small[1:], *given[4:]])
    assert_same(weights(step), weights(expected))


def test_what_kernels_keep_for_good_is_of_the_common_pool(gpu_book):
    """And not of the recording in which they first asked for it: they have it longer than that."""
    cupy, conv = sys.modules["cupy"], import_module("alexnet_np.kernels.gpu.conv")
    conv._workspaces.clear()
    losses_of(new("gpu"), batches(3))
    assert not pools_of_recordings()
    kept = [array for arrays in conv._workspaces.values() for array in arrays]
    with cupy.cuda.using_allocator(cupy.cuda.MemoryPool().malloc):
        kept.append(import_module("alexnet_np.kernels.gpu.cublas")._scratch(0, 123))
    assert len(kept) > 1
    assert all(array.memory in DEFAULT_POOL.pieces for array in kept)


@pytest.mark.parametrize("book", [pretend, pretend_with_gpu_book])
def test_a_trainer_on_a_gpu_takes_the_steps_of_the_reference_book(monkeypatch, book):
    """Through the loader and the double buffers, as bytes, with a last batch that is smaller."""
    if book is pretend_with_gpu_book and (sentence := gpu_book_problem()):
        pytest.skip(sentence)
    book(monkeypatch)
    weights_of, rows = {}, {}
    for device in ("reference", "gpu"):
        trainer = new_trainer(device)
        assert trainer.train.as_bytes == trainer.test.as_bytes == (device == "gpu")
        while not trainer.finished:
            for _ in trainer.steps():
                pass
            trainer.end_epoch(trainer.evaluate(trainer.test.batches()))
        weights_of[device] = weights(trainer.step)
        rows[device] = [(row.train_loss, row.train_accuracy, row.test_loss) for row in trainer.history]
    rtol = 1e-6 if book is pretend else 1e-4
    np.testing.assert_allclose(rows["gpu"], rows["reference"], rtol=rtol)
    assert_same(weights_of["gpu"], weights_of["reference"], rtol=rtol)
    # Each size of batch runs once unrecorded; of an evaluation's three batches two are of one size.
    assert Graph.launches == 3 * 3 - 2 + 3 * 1


def new_trainer(device, pictures=14):
    """6 pictures to a step."""
    rng = np.random.default_rng(0)
    labels = np.arange(pictures) % 3
    names = list(COLOURS)
    dataset = Arrays(np.stack([colour(names[label], rng) for label in labels]), labels, names)
    net = small_network(dropout=0.0).to(device)
    return Trainer(net, dataset, dataset, Preparation.photographs(64), Recipe(epochs=3, batch_size=6))


def test_bytes_are_not_taken_for_normalised_pictures(gpu):
    trainer = new_trainer("gpu")
    with pytest.raises(TypeError, match="expected normalised images, got bytes"):
        evaluate(trainer.net, trainer.test.batches())


def test_a_gpu_is_asked_for_numbers_when_it_has_the_next_step_to_do(gpu, monkeypatch):
    """Of 4 steps the first and the last at once: there is nothing to show before, and an epoch to note after."""
    trainer, happened = new_trainer("gpu", pictures=20), []
    step, back = trainer.step, trainer.transfer.back

    def noted(what, function):
        return lambda *arguments: happened.append(what) or function(*arguments)

    monkeypatch.setattr(trainer, "step", noted("step", step))
    monkeypatch.setattr(trainer.transfer, "back", lambda *numbers: noted("read", back(*numbers)))
    seen = [(progress.images, trainer.batch) for progress in trainer.steps()]
    assert happened == ["step", "read", "step", "step", "read", "step", "read", "read"]
    assert seen == [(6, 1), (6, 2), (12, 3), (20, 4)]
    assert trainer.progress.step_loss == pytest.approx(
        list(new_trainer("reference", pictures=20).steps())[-1].step_loss
    )


def test_a_checkpoint_on_the_way_has_all_numbers(gpu):
    states = {}
    for device in ("reference", "gpu"):
        trainer = new_trainer(device, pictures=20)
        steps = trainer.steps()
        for _ in range(3):
            next(steps)
        states[device] = trainer.checkpoint().state
        list(trainer.steps())
        trainer.end_epoch(trainer.evaluate(trainer.test.batches()))
        states[device]["epoch after it"] = trainer.history[0].train_loss
    for name in ("epoch", "batch", "schedule"):
        assert states["gpu"][name] == states["reference"][name]
    for name in ("images", "correct", "loss_sum", "step_loss", "lr"):
        assert states["gpu"]["progress"][name] == pytest.approx(states["reference"]["progress"][name], rel=1e-6)
    assert states["gpu"]["epoch after it"] == pytest.approx(states["reference"]["epoch after it"], rel=1e-6)


@pytest.mark.parametrize("who", ["the next step", "a checkpoint"])
def test_a_step_that_was_skipped_is_told_by_its_own_number(gpu, who):
    trainer = new_trainer("gpu", pictures=20)
    steps = trainer.steps()
    next(steps)
    trainer.net.parameters()[0].data[...] = 3e38
    next(steps)  # the second, whose loss nobody has looked at
    sentence = r"^epoch 1, step 2: NaN or infinity first appears in the forward pass of features\.0, Conv2d\(3, 8\)$"
    for _ in range(2):  # not forgotten
        with pytest.raises(NotFiniteError, match=sentence):
            next(steps) if who == "the next step" else trainer.checkpoint()
        steps = trainer.steps()
    assert trainer.between_steps == (who == "a checkpoint")


@pytest.mark.parametrize("graph", [True, False])
def test_answers_are_recorded_too(gpu, graph):
    """For each size of batch, and anew when weights have moved; those in their place may change."""
    net, expected = small_network(dropout=0.5).to("gpu"), small_network(dropout=0.5).to("reference")
    answer, given = Inference(net, graph=graph), [*batches(3), *batches(3, N=2, seed=1)]

    def assert_right(answer):
        answers = [answer(images) for images, _ in given]  # looked at when all are there
        for (images, _), logits in zip(given, answers, strict=True):
            np.testing.assert_array_equal(logits.get(), expected.logits(images))

    for launches in (4, 10):
        assert_right(answer)
        assert Graph.launches == (launches if graph else 0)
        for one in (net, expected):
            for p in one.parameters():
                p.data *= 2
    assert_right(answer)
    for p in net.parameters():
        p.data = p.data.copy()
    assert_right(answer)
    assert Graph.launches == (20 if graph else 0)
    del answer
    assert not pools_of_recordings()


@pytest.mark.parametrize("views", [(), (10,)])
def test_an_evaluation_is_that_of_the_reference_book(gpu, views):
    rng = np.random.default_rng(0)
    given = [(rng.standard_normal((N, *views, H, W, 3), dtype=np.float32), rng.integers(3, size=N)) for N in (3, 3, 2)]
    found, expected = (evaluate(small_network(dropout=0.5).to(device), given) for device in ("gpu", "reference"))
    assert found == expected
    assert Graph.launches == 1


# ---- the gpu book's own kernels, on a CPU


@pytest.fixture
def gpu_book(monkeypatch):
    if sentence := gpu_book_problem():
        pytest.skip(sentence)
    pretend_with_gpu_book(monkeypatch)


def test_the_gpu_book_can_be_recorded(gpu_book):
    """Bit for bit what it does unrecorded, with the same masks; and but for rounding the reference book's steps."""
    given = [*batches(4), *batches(2, N=2, seed=1)]
    for dropout in (0.5, 0.0):
        recorded, eager = new("gpu", dropout=dropout), new("gpu", dropout=dropout, graph=False)
        assert losses_of(recorded, given) == losses_of(eager, given)
        assert_same(weights(recorded), weights(eager))
    expected = new("reference")
    found = losses_of(expected, given)
    np.testing.assert_allclose(
        [loss for loss, _ in found], [loss for loss, _ in losses_of(new("gpu"), given)], rtol=1e-4
    )
    assert_same(weights(recorded), weights(expected), rtol=1e-4)


def test_another_seed_of_the_masks_reaches_the_recording(gpu_book):
    """As where a checkpoint of another run is taken up."""

    def change(step, number):
        if number == 3:
            states = [{"seed": 2**64 - 5 - i, "counter": 7} for i in range(len(generators.states(step.net)))]
            generators.set_states(step.net, states)
            assert generators.states(step.net) == states

    given = 5 * batches(1)
    recorded, eager = new("gpu", lr=0.0, dropout=0.5), new("gpu", lr=0.0, dropout=0.5, graph=False)
    assert losses_of(recorded, given, change) == losses_of(eager, given, change)
    assert Graph.launches == 4


@pytest.mark.parametrize("rule", ["torch", "2012"])
def test_the_gpu_books_optimiser_skips_a_step_whose_rate_is_nan(gpu_book, rule):
    step = new("gpu", rule=rule)
    given = batches(4)
    losses_of(step, given[:3])
    before, velocities = weights(step), {name: np.array(v) for name, v in step.sgd.velocities.items()}
    images = given[3][0].copy()
    images[0, 5, 6, 1] = np.nan
    loss, _ = step(images, given[3][1])
    assert np.isnan(float(loss))
    assert_same(weights(step), before)
    assert_same({name: np.array(v) for name, v in step.sgd.velocities.items()}, velocities)

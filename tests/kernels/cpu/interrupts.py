"""Interrupt computations at random moments, and compare what is computed afterwards: python interrupts.py COUNT SEED.

The number of threads is that of ALEXNET_NP_NUM_THREADS: test_interrupts.py starts a process for each. The process
ends with code 1, and a sentence, at the first result that differs by a bit.
"""

import gc
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from alexnet_np.kernels.cpu import memory, threads

from alexnet_np import backend, layers, losses, optim

sys.path[:0] = [str(Path(__file__).parents[1])]
from cases import CASES  # noqa: E402 (the line above finds it)

KERNELS = backend.get("cpu").kernels
TASKS = "/proc/self/task"  # Linux: a folder for each thread


def network(seed: int) -> layers.Sequential:
    """Every kind of layer, sizes for which the CPU backend has several tasks, both algorithms of convolution."""
    rng = np.random.default_rng(seed)
    return layers.Sequential(
        layers.Conv2d(3, 32, 11, stride=4, padding=2, rng=rng),
        layers.ReLU(inplace=True),
        layers.MaxPool2d(3, stride=2),
        layers.Conv2d(32, 64, 5, padding=2, groups=2, rng=rng),
        layers.ReLU(inplace=True),
        layers.LocalResponseNorm(5),
        layers.Conv2d(64, 64, 3, padding=1, rng=rng),
        layers.ReLU(inplace=True),
        layers.AdaptiveAvgPool2d(3),
        layers.Flatten(),
        layers.Dropout(0.5, rng=rng),
        layers.Linear(576, 256, rng=rng),
        layers.ReLU(inplace=True),
        layers.Linear(256, 7, rng=rng),
    )


class Training:
    """A network whose step can be taken again from the same state, to the same bits."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.net = network(0)
        self.sgd = optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        self.images = rng.standard_normal((5, 63, 63, 3), dtype=np.float32)
        self.labels = rng.integers(0, 7, 5)
        self.dropout = next(layer for _, layer in self.net.walk() if isinstance(layer, layers.Dropout))
        self.step()  # the momentum buffers are there from now on
        self.arrays = [*(p.data for p in self.net.parameters()), *self.sgd.velocities.values()]
        self.state = [array.copy() for array in self.arrays], self.dropout.rng.bit_generator.state

    def restore(self) -> None:
        """Weights, momentum and the generator of masks: what an interrupted update may leave half new."""
        arrays, self.dropout.rng.bit_generator.state = self.state
        for array, value in zip(self.arrays, arrays, strict=True):
            array[...] = value

    def forward(self) -> list[Any]:
        return [self.net.forward(self.images, keep=False)]

    def step(self) -> list[Any]:
        logits = self.net.forward(self.images, training=True)
        loss, dlogits = losses.softmax_cross_entropy(logits, self.labels)
        self.net.backward(dlogits)
        self.sgd.step()
        return [loss, *(p.grad for p in self.net.parameters()), *(p.data for p in self.net.parameters())]


def actions() -> dict[str, tuple[Callable[[], list[Any]], Callable[[], None]]]:
    """What is interrupted, with what puts its state back: a forward, a step, every kernel."""
    training = Training()
    found: dict[str, Any] = {
        "forward": (training.forward, training.restore),
        "step": (training.step, training.restore),
    }
    for name, case in CASES.items():
        arrays = case.arrays("float32")
        found[name] = (lambda case=case, arrays=arrays: case.run(KERNELS, arrays)), (lambda: None)
    return found


def bits(results: list[Any]) -> list[bytes]:
    return [np.ascontiguousarray(result).tobytes() for result in results if result is not None]


def failing_task(number: int) -> None:
    if number % 2:
        raise ZeroDivisionError(number)
    time.sleep(0.0005)


class Interrupts:
    """KeyboardInterrupt after a while, as Ctrl-C raises it; where ``again`` is given, once more that much later."""

    def __init__(self) -> None:
        self.left = 0
        signal.signal(signal.SIGALRM, self._raise)

    def arm(self, after: float, again: float = 0.0) -> None:
        self.left = 2 if again else 1
        signal.setitimer(signal.ITIMER_REAL, after, again)

    def _raise(self, *_: object) -> None:
        if self.left:
            self.left -= 1
            raise KeyboardInterrupt


def thread_count() -> int:
    """The threads of this process; 0 where the system does not say."""
    return len(os.listdir(TASKS)) if os.path.isdir(TASKS) else 0


def interrupt(count: int, seed: int) -> None:
    """Interrupt forwards, steps, kernels and failing tasks; after each, compare this and another computation."""
    draws = random.Random(seed)
    lost: list[Any] = []
    sys.unraisablehook = lost.append
    everything = actions()
    expected, seconds = {}, {}
    for name, (act, restore) in everything.items():
        restore()
        act()
        restore()
        start = time.perf_counter()
        expected[name] = bits(act())
        seconds[name] = time.perf_counter() - start
    gc.collect()
    leased, started = memory.leased_bytes(), thread_count()
    interrupts = Interrupts()

    interrupted = 0
    names = list(everything)
    while interrupted < count:
        name = draws.choice(["forward", "step", draws.choice(names), draws.choice(names)])
        act, restore = everything[name]
        restore()
        try:
            try:
                again = draws.choice([0.0, draws.uniform(1e-5, 1e-3)])
                interrupts.arm(draws.uniform(1e-6, 1.2 * seconds[name]), again)
                if draws.random() < 0.1:
                    threads.run(failing_task, [(n,) for n in range(5)])
                act()
            except ZeroDivisionError:
                pass
            interrupts.left = 0
        except KeyboardInterrupt:
            interrupts.left = 0  # before anything is called, where the second one could be raised
            interrupted += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        for other in (name, draws.choice(names)):
            act, restore = everything[other]
            restore()
            assert bits(act()) == expected[other], f"after interrupt {interrupted}, of {name}: {other} is wrong"
        assert thread_count() == started, f"after interrupt {interrupted}, of {name}: threads are left"
    gc.collect()
    assert not lost, f"an interrupt was raised where Python drops it: {lost[0]}"
    assert memory.leased_bytes() == leased, f"memory is lost: {memory.leased_bytes()} bytes, expected {leased}"


def interrupt_starts(count: int, seed: int) -> None:
    """Interrupt the first start of the helpers. A forked child has none yet, and everything is compiled."""
    draws, interrupts = random.Random(seed), Interrupts()
    case = CASES["linear: blocks and a rest"]
    arrays = case.arrays("float32")
    expected = bits(case.run(KERNELS, arrays))
    for number in range(count):
        moment = draws.uniform(1e-6, 2e-3)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                interrupts.arm(moment)
                case.run(KERNELS, arrays)
                time.sleep(1)
                print("the interrupt was lost")
            except KeyboardInterrupt:
                code = 0 if _pool_is_complete(lambda: bits(case.run(KERNELS, arrays)) == expected) else 1
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, f"start {number}, interrupted after {moment:.6f} s"


def _pool_is_complete(right: Callable[[], bool]) -> bool:
    """Whether results are right, and all helpers are there, each once (one that was started twice may be leaving)."""
    if not all(right() for _ in range(3)) or len(threads._helpers) != threads.NUM_THREADS - 1:
        return False
    end = time.monotonic() + 10
    while thread_count() != threads.NUM_THREADS and time.monotonic() < end:
        time.sleep(0.001)
    return thread_count() == threads.NUM_THREADS


if __name__ == "__main__":
    interrupt(int(sys.argv[1]), int(sys.argv[2]))
    if thread_count():
        interrupt_starts(int(sys.argv[1]) // 10, int(sys.argv[2]))

"""A run that is stopped, or loses its terminal, leaves a checkpoint and says how to go on."""

import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from processes import start

from alexnet_np import checkpoints, runs
from alexnet_np.cli import main
from alexnet_np.cli.stop import Stopped, StopRequest
from alexnet_np.training import Trainer

ARGUMENTS = ["--size", "64", "--epochs", "500", "--batch-size", "5", "--out", "run"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither SIGHUP nor such terminals")
pytestmark = [pytest.mark.usefixtures("small_and_elsewhere", "undrawn"), pytest.mark.timeout(120)]


def steps_kept():
    return int(checkpoints.in_ring(Path("run", runs.CHECKPOINTS))[-1].stem)


def at_the_end_of_the_first_epoch(monkeypatch, do):
    end_epoch = Trainer.end_epoch

    def end(trainer, result):
        line = end_epoch(trainer, result)
        if line.epoch == 1:
            do()
        return line

    monkeypatch.setattr(Trainer, "end_epoch", end)


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_stops_a_run_with_a_checkpoint(colours, monkeypatch, capsys, name):
    at_the_end_of_the_first_epoch(monkeypatch, lambda: signal.raise_signal(getattr(signal, name)))
    assert main(["train", "--data", str(colours), *ARGUMENTS]) == 130
    assert "To go on: alexnet-np train --resume run" in capsys.readouterr().out
    assert steps_kept() == 4


# The terminal of a session, as of ssh. The kernel sends SIGHUP when it is closed.
OWN_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
IGNORED = "import signal; signal.signal(1, signal.SIG_IGN)\n"


@posix
@pytest.mark.parametrize("before", ["", IGNORED], ids=["hangup", "nohup"])
def test_a_terminal_that_has_gone_costs_no_checkpoint(colours, before):
    master, terminal = os.openpty()
    options = {"stdin": terminal, "stdout": terminal, "stderr": terminal, "start_new_session": True}
    process = start("--data", str(colours), *ARGUMENTS, before=OWN_TERMINAL + before, **options)
    os.close(terminal)
    said = b""
    while b"epoch   1/" not in said:
        said += os.read(master, 1000)
    os.close(master)
    if before == IGNORED:  # it goes on without a reader, until it is stopped
        with pytest.raises(TimeoutError):
            wait(process, 1)
        process.send_signal(signal.SIGTERM)
    assert wait(process, 60) == 130
    assert steps_kept() >= 3


def wait(process, seconds):
    try:
        return process.wait(seconds)
    except Exception as error:  # subprocess's own keeps the command line
        raise TimeoutError from error


def test_a_pipe_that_nobody_reads_stops_the_run(colours):
    process = start("--data", str(colours), *ARGUMENTS)
    assert any(line.startswith("epoch") for line in process.stdout)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(60) == 130
    assert steps_kept() >= 3


def test_a_pipe_beside_the_json_that_nobody_reads_stops_the_run(colours, monkeypatch, capsys):
    reader, writer = os.pipe()
    at_the_end_of_the_first_epoch(monkeypatch, lambda: os.close(reader))
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stderr", pipe)
        assert main(["train", "--data", str(colours), *ARGUMENTS, "--json"]) == 130
    assert capsys.readouterr().out == ""
    assert steps_kept() == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_full_disk_for_what_is_printed_costs_no_result(colours, monkeypatch, capsys, command):
    arguments = ["train", "--data", str(colours), *ARGUMENTS, "--epochs", "1"]
    if command == "evaluate":
        assert main(arguments) == 0
        arguments = ["evaluate", "--weights", "run", "--out", "tested"]
    capsys.readouterr()
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(arguments) == 2
    said = f"alexnet-np {command}: the output could not be written ([Errno 28] No space left on device)\n"
    assert capsys.readouterr().err == said
    assert Path("run", runs.WEIGHTS).exists()
    assert Path("tested", runs.CONFUSION).exists() == (command == "evaluate")


def test_streams_that_are_closed_from_the_beginning_are_no_trouble(colours, monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(["train", "--data", str(colours), *ARGUMENTS, "--epochs", "1", "--json"]) == 0
    assert main(["predict", "nowhere.png"]) == 2
    for stream in (sys.stdout, sys.stderr):
        stream.close()


def test_a_run_in_another_thread_needs_no_signals(colours):
    codes = []
    arguments = ["train", "--data", str(colours), *ARGUMENTS, "--epochs", "1"]
    thread = threading.Thread(target=lambda: codes.append(main(arguments)))
    thread.start()
    thread.join()
    assert codes == [0]


def test_handlers_of_before_are_back_and_one_that_is_not_pythons_is_no_trouble(monkeypatch):
    before = [signal.getsignal(number) for number in StopRequest.SIGNALS]
    with StopRequest() as stop:
        stop.make()
        with pytest.raises(Stopped):
            stop.grant()
    assert [signal.getsignal(number) for number in StopRequest.SIGNALS] == before
    with StopRequest() as stop:
        stop._before[signal.SIGTERM] = None
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

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

ARGUMENTS = ["--size", "64", "--epochs", "500", "--batch-size", "5", "--out", "run"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither SIGHUP nor such terminals")
pytestmark = [pytest.mark.usefixtures("small_and_elsewhere"), pytest.mark.timeout(120)]


def wait_for(process, sign):
    assert any(line.startswith(sign) for line in process.stdout), process.communicate()


def steps_kept():
    return int(checkpoints.in_ring(Path("run", runs.CHECKPOINTS))[-1].stem)


@posix
def test_a_lost_connection_stops_a_run_as_sigterm_does(colours):
    process = start("--data", str(colours), *ARGUMENTS)
    wait_for(process, "epoch")
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert "To go on: alexnet-np train --resume run" in out
    assert steps_kept() >= 3


@posix
def test_nohup_stays_nohup(colours):
    process = start("--data", str(colours), *ARGUMENTS, before="import signal; signal.signal(1, signal.SIG_IGN)\n")
    wait_for(process, "epoch   1/")
    process.send_signal(signal.SIGHUP)
    for number in range(2, 6):
        wait_for(process, f"epoch   {number}/")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130


# The terminal of a session, as of ssh: that it is gone is told by SIGHUP.
OWN_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
IGNORED = "import signal; signal.signal(1, signal.SIG_IGN)\n"


@posix
@pytest.mark.parametrize("before", [OWN_TERMINAL, IGNORED], ids=["hangup", "nohup"])
def test_a_terminal_that_has_gone_costs_no_checkpoint(colours, before):
    master, terminal = os.openpty()
    options = {"stdin": terminal, "stdout": terminal, "stderr": terminal, "start_new_session": True}
    process = start("--data", str(colours), *ARGUMENTS, before=before, **options)
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


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_a_pipe_that_nobody_reads_stops_the_run(colours, json):
    process = start("--data", str(colours), *ARGUMENTS, *json)
    gone, other = (process.stderr, process.stdout) if json else (process.stdout, process.stderr)
    assert any(line.startswith("epoch") for line in gone)
    gone.close()
    assert other.read() == ""
    other.close()
    assert process.wait(60) == 130
    assert steps_kept() >= 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_for_what_is_printed_costs_nothing(colours):
    with Path("/dev/full").open("w") as full:
        process = start("--data", str(colours), *ARGUMENTS, "--epochs", "2", stdout=full)
        process.communicate(timeout=60)
    assert Path("run", runs.WEIGHTS).exists()


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

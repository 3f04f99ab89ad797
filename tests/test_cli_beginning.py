"""What may stop a command before it has begun: Ctrl-C, the environment, a lack of memory."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from alexnet_np import models
from alexnet_np.cli import main

# Ctrl-C while a module is imported.
INTERRUPTED = """
import sys
from importlib.abc import MetaPathFinder

class Interrupt(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            print("interrupted", flush=True)
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from alexnet_np.cli import main
sys.exit(main({arguments!r}))
"""
COMMANDS = {
    "train": ["train", "--epochs", "1"],
    "evaluate": ["evaluate", "--weights", "nowhere"],
    "predict": ["predict", "a.png", "--weights", "nowhere"],
    "export": ["export", "a.onnx", "--weights", "nowhere"],
    "check-data": ["check-data", "digits"],
    "augment": ["augment", "--preview", "a.png"],
    "summary": ["summary"],
    "gradcheck": ["gradcheck"],
    "benchmark": ["benchmark", "report"],
    "doctor": ["doctor"],
}


def python(code, folder, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "module"),
    [
        *((command, "alexnet_np.cli.train") for command in COMMANDS),
        ("doctor", "numpy"),
        ("predict", "numpy"),
        ("train", "numba"),
        ("summary", "alexnet_np.models"),
        ("benchmark", "benchmarks"),
    ],
)
def test_ctrl_c_before_a_command_has_begun_is_quiet(tmp_path, command, module):
    result = python(INTERRUPTED.format(module=module, arguments=COMMANDS[command]), tmp_path)
    assert (result.stdout.split()[-1], result.returncode, "Traceback" in result.stderr) == ("interrupted", 130, False)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "doctor"])
def test_a_number_of_threads_that_is_none_is_said(capsys, monkeypatch, command):
    monkeypatch.setenv("ALEXNET_NP_NUM_THREADS", "abc")
    assert main(COMMANDS[command]) == 2
    expected = "ALEXNET_NP_NUM_THREADS: expected a whole number of threads from 1 to 1024, got 'abc': unset it"
    assert capsys.readouterr().err.startswith(f"alexnet-np {command}: {expected}")


def test_doctor_has_it_among_its_findings(capsys, monkeypatch):
    monkeypatch.setenv("ALEXNET_NP_NUM_THREADS", "1e9")
    assert main(["doctor"]) == 1
    assert "problem  cores" in (out := capsys.readouterr().out)
    assert "-> unset ALEXNET_NP_NUM_THREADS" in out


def test_programs_get_a_sentence_too(tmp_path):
    code = "from alexnet_np import models; models.alexnet(num_classes=2)"
    for count in ("0", "-3", "1e9"):
        last = python(code, tmp_path, ALEXNET_NP_NUM_THREADS=count).stderr.splitlines()[-1]
        assert last.startswith("alexnet_np.backend.DeviceError: ALEXNET_NP_NUM_THREADS: expected a whole number")


def test_a_command_runs_in_any_thread(capsys):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(["check-data", "digits"])))
    thread.start()
    thread.join()
    assert codes == [0]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 144. MiB"),
        RuntimeError("can't start new thread"),
        ImportError("a.so: failed to map segment from shared object"),
    ],
)
def test_a_lack_of_memory_anywhere_is_a_sentence(capsys, monkeypatch, error):
    def raising(*_, **__):
        raise error

    monkeypatch.setattr(models, "alexnet", raising)
    assert main(["summary"]) == 2
    assert capsys.readouterr().err == f"alexnet-np summary: there is not enough memory ({error})\n"


def test_other_errors_of_this_program_show_where(monkeypatch):
    def raising(*_, **__):
        raise RuntimeError("a fault of this program")

    monkeypatch.setattr(models, "alexnet", raising)
    with pytest.raises(RuntimeError, match="a fault of this program"):
        main(["summary"])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound the address space")
@pytest.mark.parametrize("command", ["doctor", "summary"])
def test_one_gigabyte_of_address_space_gives_a_result_or_a_sentence(tmp_path, command):
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1_000_000_000,) * 2)\n"
        "from alexnet_np.cli import main\n"
        f"sys.exit(main({COMMANDS[command]!r}))"
    )
    result = python(code, tmp_path, OPENBLAS_NUM_THREADS="2", ALEXNET_NP_NUM_THREADS="2")
    assert "Traceback" not in result.stderr
    assert result.returncode in (0, 1, 2)


def test_what_a_file_says_does_not_steer_the_terminal(capsys, tmp_path):
    (tmp_path / "a.toml").write_text('"\\u001b[31mred" = 1\n')
    assert main(["train", "--config", str(tmp_path / "a.toml")]) == 2
    assert Path("a.toml").name in (message := capsys.readouterr().err)
    assert "\x1b" not in message

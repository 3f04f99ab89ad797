"""What may stop a command before it has begun: Ctrl-C, the environment, a lack of memory."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from alexnet_np import models
from alexnet_np.cli import beginning, main
from alexnet_np.cli.common import lacks_memory

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
        ("doctor", "numpy"),
        ("augment", "alexnet_np.cli.train"),
        ("train", "alexnet_np.runs"),
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
    code = "from alexnet_np import layers; import numpy as np; layers.ReLU().forward(np.ones((1, 2), 'f'))"
    for count in ("0", "-3", "1e9"):
        last = python(code, tmp_path, ALEXNET_NP_NUM_THREADS=count).stderr.splitlines()[-1]
        assert last.startswith("alexnet_np.backend.DeviceError: ALEXNET_NP_NUM_THREADS: expected a whole number")


def test_the_reference_needs_no_number_of_threads(tmp_path):
    code = (
        "from alexnet_np import layers; import numpy as np\n"
        "print(layers.ReLU().to('reference').forward(np.ones((1, 2), 'f')).sum())"
    )
    assert python(code, tmp_path, ALEXNET_NP_NUM_THREADS="abc").stdout == "2.0\n"


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


def test_a_lack_of_memory_before_the_command_is_a_sentence(capsys, monkeypatch):
    def raising(_):
        raise ImportError("a.so: failed to map segment from shared object")

    monkeypatch.setattr(beginning, "config_file", raising)
    assert main(["train"]) == 2
    assert capsys.readouterr().err.startswith("alexnet-np train: there is not enough memory (a.so")


def test_an_error_may_be_its_own_context():
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__context__ = other, one
    assert not lacks_memory(one)
    other.__context__ = MemoryError()
    assert lacks_memory(one)


@pytest.mark.parametrize("name", ["a.h5", "a.keras", "a.pth", "a.safetensors"])
@pytest.mark.parametrize("command", ["evaluate", "predict", "export"])
def test_damaged_weights_are_said(tmp_path, capsys, command, name):
    starts = {".h5": b"\x89HDF\r\n\x1a\n", ".keras": b"PK\3\4", ".pth": b"PK\3\4", ".safetensors": b"\x99" * 8 + b"{"}
    (tmp_path / name).write_bytes(starts[Path(name).suffix] + bytes(100))
    argument = {"evaluate": [], "predict": ["a.png"], "export": [str(tmp_path / "a.onnx")]}[command]
    assert main([command, *argument, "--weights", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.startswith(f"alexnet-np {command}: weights: {tmp_path / name} ")


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("flag", ["--data", "--weights", "--mean-image", "--config", "--resume", "--out"])
@pytest.mark.parametrize("name", ["loop", "x" * 300])
def test_names_that_lead_nowhere_are_said(tmp_path, monkeypatch, capsys, flag, name):
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    assert main(["train", "--size", "64", flag, name]) == 2
    assert capsys.readouterr().err.startswith("alexnet-np train: ")


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

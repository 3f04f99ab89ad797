"""``import alexnet_np`` is cheap: nothing heavy is imported, compiled, downloaded or written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"cupy", "keras", "llvmlite", "matplotlib", "numba", "numpy", "PIL", "safetensors", "sklearn", "torch", "tqdm"}

# The interpreter tells an audit hook of every file that is opened for writing, every process, every connection.
IMPORT = """
import json, os, sys

EVENTS = "socket.", "subprocess.", "os.mkdir", "os.rename", "os.remove", "os.exec", "os.posix_spawn", "os.fork"
seen = []

def hook(event, args):
    if event == "open":
        path, _, flags = args
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            seen.append(f"writes {path}")
    elif event.startswith(EVENTS):
        seen.append(event)

sys.addaudithook(hook)
import alexnet_np
print(json.dumps([seen, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def python(script, folder):
    """What a fresh interpreter prints that runs the script elsewhere. -B: byte code is Python's own affair."""
    done = subprocess.run([sys.executable, "-B", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_import_does_nothing_else(tmp_path):
    seen, modules = python(IMPORT, tmp_path)
    assert seen == []
    assert HEAVY.isdisjoint(modules)
    assert "alexnet_np" in modules


def test_the_hook_sees_what_it_should(tmp_path):
    seen, _ = python(IMPORT.replace("import alexnet_np", "open('x', 'w'); os.mkdir('y')"), tmp_path)
    assert seen == ["writes x", "os.mkdir"]


def test_kernels_are_installed_inside_the_package(tmp_path):
    """kernels/ stands beside alexnet_np/ in the repository, and nothing called ``kernels`` is installed."""
    script = """
import importlib.util, json
from alexnet_np.kernels import cpu, reference
print(json.dumps([reference.__file__, cpu.__file__, importlib.util.find_spec("kernels") is None]))
"""
    reference, cpu, nothing_else = python(script, tmp_path)
    assert [Path(file).parent.name for file in (reference, cpu)] == ["reference", "cpu"]
    assert nothing_else


@pytest.mark.parametrize("how", ["import alexnet_np", "from alexnet_np import *", "import alexnet_np.models"])
def test_the_modules_of_the_readme_come_when_they_are_asked_for(tmp_path, how):
    names = ["layers", "losses", "models", "optim", "weights"]
    ask = {"from alexnet_np import *": "{}.__name__"}.get(how, "alexnet_np.{}.__name__")
    script = f"import json; {how}\nprint(json.dumps([{', '.join(map(ask.format, names))}]))"
    assert python(script, tmp_path) == [f"alexnet_np.{name}" for name in names]
    assert set(names) <= set(python("import json, alexnet_np; print(json.dumps(dir(alexnet_np)))", tmp_path))

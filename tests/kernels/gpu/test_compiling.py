"""Every .cu file compiles for every architecture, and no kernel needs more registers than there are.

The most demanding variants here; all of them by ``python tests/kernels/gpu_compiler.py``, which CI runs as well.
"""

import gpu_compiler
import pytest

pytestmark = pytest.mark.skipif(gpu_compiler.compiler() is None, reason="neither NVRTC nor nvcc is installed")


@pytest.mark.parametrize("architecture", gpu_compiler.ARCHITECTURES)
@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("bfloat16", 8)])
@pytest.mark.parametrize("file", gpu_compiler.FILES)
def test_files_compile_and_nothing_is_spilled(file, dtype, width, architecture):
    for usage in gpu_compiler.compile(file, dtype, width, architecture):
        assert usage.spilled == 0, usage


def test_a_file_that_does_not_compile_is_noticed(monkeypatch):
    monkeypatch.setattr(gpu_compiler.launcher, "source", lambda file: 'extern "C" __global__ void f(int x) { x = y; }')
    with pytest.raises(RuntimeError, match='identifier "y" is undefined'):
        gpu_compiler.compile("pool", "float32", 4, "sm_90")

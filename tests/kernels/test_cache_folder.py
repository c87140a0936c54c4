"""Where compiled kernels are kept."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from numba import njit
from numba.core.caching import FunctionCache

import spikeframe.kernels.numba as kernels  # it lets Numba go on
from spikeframe.kernels import source
from spikeframe.kernels.cuda import launch

READ_ONLY = """
from numba.core import caching
known = caching.CacheImpl._locator_classes
known[:] = [kind for kind in known if "UserProvided" in kind.__name__]  # as in a read-only package without a home
import numpy as np
from spikeframe.datasets import check_events, make_events
check_events(make_events(x=[1], y=[1], t=[1], p=[1]), (4, 4, 2))
"""


@pytest.mark.fault
def test_kernels_go_into_our_cache_where_numba_finds_no_folder(tmp_path):
    environment = {**os.environ, "SPIKEFRAME_CACHE": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("kernels/*/*/*.nbi"))


FULL = """
import resource, signal, sys
import torch
from spikeframe.neurons import LIF
from spikeframe.kernels import source
neuron, x = LIF(dt=1.0), torch.rand(20, 2, 3) * 0.5
source.folder()  # can be written so far
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # from here on the disk is full
z, _ = neuron(x)
assert torch.equal(z, LIF(dt=1.0, backend="torch")(x)[0]) and z.sum() > 0
"""


@pytest.mark.fault
def test_a_disk_that_becomes_full_is_told_once_and_the_run_goes_on(tmp_path):
    environment = {**os.environ, "SPIKEFRAME_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("compiled kernels cannot be kept") == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.fault
def test_what_cannot_be_written_stays_in_memory(monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(source, "_told", threading.Event())
    monkeypatch.setattr(source, "_written", full)
    text = "from numba import njit\n\n\n@njit(cache=True)\ndef four():\n    return 4\n"
    module = source.load(text, "test_memory")
    assert module.four() == 4
    assert source.load(text, "test_memory") is module
    monkeypatch.setattr(FunctionCache, "_save_overload", full)
    kept = njit(cache=True)(lambda n: n + 1)
    assert kept(1) == 2
    assert kept(1.5) == 2.5
    assert capsys.readouterr().err.count("cannot be kept") == 1


@pytest.mark.fault
def test_cuda_kernels_are_compiled_in_memory_where_cupy_s_cache_is_full(monkeypatch, capsys):
    class RawModule:
        def __init__(self, code, options):
            self.code = code

        def get_function(self, name):
            if os.environ.get("CUPY_CACHE_IN_MEMORY") != "1":
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.code + name

    monkeypatch.setattr(source, "_told", threading.Event())
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "0")
    assert launch._compiled(SimpleNamespace(RawModule=RawModule), "text ", "kernel") == "text kernel"
    assert capsys.readouterr().err.count("cannot be kept") == 1


def test_a_kernel_kept_from_before_another_one_changed_is_not_used(monkeypatch, tmp_path):
    """Numba looks at the file of the outer one only: an upgrade in place went on with the old inner one."""
    function = _kernel_in(tmp_path)
    first = kernels._Kept(function)._cache_file._source_stamp
    assert kernels._Kept(function)._cache_file._source_stamp == first
    monkeypatch.setattr(source, "hashed", lambda *folders: "changed")
    assert kernels._Kept(function)._cache_file._source_stamp != first


def _kernel_in(folder):
    """A function of a file that stands for one of ours."""
    (folder / "kernel.py").write_text("def one():\n    return 1\n")
    found = {"__name__": "spikeframe.kernels.numba.kernel"}
    exec(compile((folder / "kernel.py").read_text(), str(folder / "kernel.py"), "exec"), found)
    return found["one"]

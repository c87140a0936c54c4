"""Generated source: where it is written, how it is loaded, and the word that it is being compiled.

Modules land in a folder that is named by a hash of the generators themselves, so a new version never meets an old
cache, and are named by the hash of their own text. A reader can open them. Where the disk has become full or read-only,
they are made in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.abc
import importlib.util
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType

_PACKAGE = "spikeframe_generated"
_LOCK = threading.Lock()
_told = threading.Event()
_quiet = threading.Event()
#: Seconds after which a compile is mentioned.
_PATIENCE = 0.5


def _fresh_lock() -> None:
    """Give a forked child a lock that nobody holds."""
    global _LOCK
    _LOCK = threading.Lock()


os.register_at_fork(after_in_child=_fresh_lock)


def cache_folder() -> Path:
    """Return the folder for everything spikeframe may rebuild: ``$SPIKEFRAME_CACHE`` or the user's cache folder."""
    chosen = os.environ.get("SPIKEFRAME_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spikeframe"


@lru_cache(maxsize=4)
def hashed(*folders: Path) -> str:
    """Return a hash of all Python files in some folders.

    Args:
        folders: looked through with those in them.
    """
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@lru_cache(maxsize=1)
def folder() -> Path:
    """Return the folder of what is generated and compiled; a temporary one where the cache cannot be written."""
    found = cache_folder() / "kernels" / hashed(Path(__file__).parent)  # all that generates
    try:
        found.mkdir(parents=True, exist_ok=True)
        probe = found / f".probe{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        found = Path(tempfile.mkdtemp(prefix="spikeframe-kernels-"))
        print(
            f"spikeframe: cannot write the kernel cache ({error}); kernels are compiled again in {found}. "
            "Set SPIKEFRAME_CACHE to a writable folder to keep them.",
            file=sys.stderr,
        )
    return found


def cannot_keep(error: OSError) -> None:
    """Say, once in a process, that what is compiled cannot be written any more.

    Args:
        error: what writing met.
    """
    if not _told.is_set():
        _told.set()
        print(
            f"spikeframe: compiled kernels cannot be kept ({error}); new ones stay in memory and are compiled again in "
            "the next run. Make room, or set SPIKEFRAME_CACHE to a writable folder.",
            file=sys.stderr,
        )


class _Text(importlib.abc.InspectLoader):
    """Loads a module that is in no file.

    Args:
        text: its source.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def get_source(self, fullname: str) -> str:
        """Return the source."""
        return self.text


def load(text: str, title: str) -> ModuleType:
    """Write a generated module into the cache, unless it is there, and import it; make it in memory where that fails.

    Args:
        text: the module's source.
        title: a word for the file name, e.g. the neuron's class.
    """
    name = f"{title}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    with _LOCK:  # not while another thread is importing it
        if (found := sys.modules.get(f"{_PACKAGE}.{name}")) is not None:
            return found
    try:
        home = _written(name, text)
    except OSError as error:
        cannot_keep(error)
        with _LOCK:
            return _in_memory(f"{_PACKAGE}.{name}", text)
    with _LOCK:
        if _PACKAGE not in sys.modules:
            package = ModuleType(_PACKAGE)
            package.__path__ = [str(home)]
            sys.modules[_PACKAGE] = package
        importlib.invalidate_caches()
        return importlib.import_module(f"{_PACKAGE}.{name}")


def _written(name: str, text: str) -> Path:
    """Write a module into the cache, unless it is there; return the folder."""
    path = folder() / f"{name}.py"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    return path.parent


def _in_memory(name: str, text: str) -> ModuleType:
    """Make a module from its text."""
    if name not in sys.modules:
        loader = _Text(text)
        module = ModuleType(name)
        loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let `compiling` say nothing, in all threads."""
    _quiet.set()
    try:
        yield
    finally:
        _quiet.clear()


@contextlib.contextmanager
def compiling(what: str) -> Iterator[None]:
    """Say on stderr that a first compile is under way, once that takes longer than a moment."""
    if _quiet.is_set():
        yield
        return
    started = time.perf_counter()
    said = threading.Event()

    def say() -> None:
        said.set()
        when = "first use" if _told.is_set() else "first use; cached afterwards"
        print(f"spikeframe: compiling {what} ({when}) ...", end="", file=sys.stderr, flush=True)

    timer = threading.Timer(_PATIENCE, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if said.is_set():
            print(f" {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)

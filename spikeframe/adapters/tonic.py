"""Data sets and transforms between tonic (doi:10.5281/zenodo.5079802) and here, and a cache that never goes stale.

tonic's sets in our form: `spikeframe.datasets.from_tonic`. Ours in tonic's: `to_tonic`. `Guarded` puts a transform of
tonic's (or anyone's) into a chain of ours. `cached` keeps transformed recordings on disk under a key made of the data
set and of the transform's whole content: arguments, code, what the code refers to. tonic's `DiskCachedDataset` names
files by number alone and gives the old ones after a change of the transform.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import operator
import os
import sys
import tempfile
import types
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch
from numpy.typing import NDArray

from spikeframe.datasets.base import EventDataset
from spikeframe.datasets.events import check_events
from spikeframe.errors import DTypeError, EventError, ParameterError

Transform = Callable[[Any], Any]


class TonicView:
    """A data set of ours with the attributes and items of tonic's; see `to_tonic`.

    Attributes:
        sensor_size: (width, height, polarities).
        classes: names.
        targets: class numbers.
    """

    def __init__(
        self, dataset: EventDataset, transform: Transform | None, target_transform: Transform | None,
        transforms: Callable[[Any, Any], tuple[Any, Any]] | None,
    ) -> None:  # fmt: skip
        self.dataset = dataset
        self.sensor_size, self.classes = dataset.sensor_size, list(dataset.classes)
        self.targets = [int(label) for label in dataset.labels]
        self.transform, self.target_transform, self.transforms = transform, target_transform, transforms

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: SupportsIndex) -> tuple[Any, Any]:
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"{type(self.dataset).__name__}[{number}]: there are {len(self)} recordings.")
        number %= len(self)
        events: Any = np.array(self.dataset.events(number))  # tonic's transforms may write into what they get
        target: Any = self.targets[number]
        if self.transform is not None:
            events = self.transform(events)
        if self.target_transform is not None:
            target = self.target_transform(target)
        if self.transforms is not None:
            events, target = self.transforms(events, target)
        return events, target


def to_tonic(
    dataset: EventDataset,
    transform: Transform | None = None,
    target_transform: Transform | None = None,
    transforms: Callable[[Any, Any], tuple[Any, Any]] | None = None,
) -> TonicView:
    """Return a data set of ours as tonic's classes take it (`SlicedDataset`, `MemoryCachedDataset`, ...).

    Items are ``(events, target)``; events are copies with the fields x, y, t, p, so that tonic's transforms, some of
    which write into what they get, harm nobody.

    Args:
        dataset: of ours; its own transforms are left out.
        transform: called with each item's events.
        target_transform: called with each item's target.
        transforms: called with both, and returns both.

    Raises:
        DTypeError: it is no data set of ours.
    """
    if not isinstance(dataset, EventDataset):
        raise DTypeError(f"to_tonic: got {type(dataset).__name__}; accepted is a data set of spikeframe.datasets.")
    return TonicView(dataset, transform, target_transform, transforms)


@dataclasses.dataclass(frozen=True)
class Guarded:
    """A transform that gets a copy, and whose result is looked at.

    Args:
        transform: callable of one argument, e.g. ``tonic.transforms.ToFrame(...)``.
        lossy: accept that frames hold fewer events than the recording (tonic drops an incomplete last window).

    Raises:
        DTypeError: it cannot be called.
    """

    transform: Transform
    lossy: bool = False

    def __post_init__(self) -> None:
        if not callable(self.transform):
            raise DTypeError(f"Guarded({self.transform!r}): accepted is a callable of one argument.")

    def __call__(self, events: Any) -> Any:
        """Transform.

        Raises:
            EventError: events come in or out unsorted, out of range or negative; frames hold negative counts (tonic's
                int16 wraps at 32,768) or, unless `lossy`, another number of events.
        """
        name = type(self.transform).__name__
        if isinstance(events, np.ndarray) and events.dtype.names:
            check_events(events, where=f"input of {name}")
        out = self.transform(np.array(events) if isinstance(events, np.ndarray) else events)
        if isinstance(out, np.ndarray) and out.dtype.names:
            check_events(out, where=f"output of {name}")
        elif name == "ToFrame" and isinstance(out, np.ndarray) and out.dtype.kind in "iu":
            if bool((out < 0).any()):
                place = [int(i) for i in np.argwhere(out < 0)[0]]
                raise EventError(
                    f"{name}: frame {place} counts {out[tuple(place)]}; {out.dtype} is too small, it wrapped."
                )
            counted = int(out.sum(dtype=np.int64))
            if counted != len(events) and not self.lossy:
                raise EventError(
                    f"{name}: {counted} of {len(events)} events are in the frames; use transforms.ToFrames of ours, or "
                    "Guarded(..., lossy=True) if that is meant."
                )
        return out


class Cached:
    """Transformed recordings kept on disk; see `cached`.

    Attributes:
        folder: where, one folder for each data set and transform.
        labels, sensor_size, classes: of the data set.
    """

    def __init__(
        self, dataset: EventDataset, folder: Path, transform: Transform | None, after: Transform | None
    ) -> None:
        self.dataset, self.folder, self.transform, self.after = dataset, folder, transform, after
        self.labels, self.sensor_size, self.classes = dataset.labels, dataset.sensor_size, dataset.classes

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: SupportsIndex) -> tuple[Any, Any]:
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"Cached[{number}]: there are {len(self)} recordings, 0 to {len(self) - 1}.")
        number %= len(self)
        path = self.folder / f"{number}.npz"
        try:
            value = _load(path)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there yet, or damaged
            value = self._made(number)
            _save(path, value)
        return (value if self.after is None else self.after(value)), int(self.labels[number])

    def _made(self, number: int) -> Any:
        events: Any = np.array(self.dataset.events(number))
        return events if self.transform is None else self.transform(events)


def cached(
    dataset: EventDataset,
    folder: str | Path,
    transform: Transform | None = None,
    after: Transform | None = None,
    key: str | None = None,
) -> Cached:
    """Return a data set whose transformed recordings are computed once and kept on disk.

    The key of the folder is a hash of the data set (its class, labels, sensor, and three of its recordings) and of the
    transform: class and arguments however nested, the code of functions and classes and what it refers to, versions of
    installed packages. Any change makes a new folder; the old one stays and serves again if the change is taken back.

    Args:
        dataset: of ours (or `from_tonic`); its own transform is left out.
        folder: where to keep them.
        transform: from events to a NumPy array or a tensor; must give the same for the same events.
        after: applied to each item when it is read: augmentation belongs here.
        key: instead of the transform's hash, where none can be made of it; then staleness is yours to avoid.

    Raises:
        DTypeError: it is no data set of ours.
        ParameterError: the transform is random, gives neither array nor tensor, or holds what has no content to hash.
    """
    if not isinstance(dataset, EventDataset):
        raise DTypeError(f"cached: got {type(dataset).__name__}; accepted is a data set of ours; see from_tonic.")
    content = hashlib.sha256()
    _add(content, key if key is not None else transform, "transform", {})
    _add(content, [type(dataset).__qualname__, dataset.labels, tuple(dataset.sensor_size)], "dataset", {})
    for number in sorted({0, len(dataset) // 2, len(dataset) - 1}) if len(dataset) else []:
        _add(content, np.array(dataset.events(number)), "dataset", {})
    made = Cached(dataset, Path(folder) / content.hexdigest()[:32], transform, after)
    if len(dataset):
        _check_same(made)
    made.folder.mkdir(parents=True, exist_ok=True)
    return made


def _check_same(made: Cached) -> None:
    """Refuse a transform that gives two results for one recording: half of its randomness would be frozen."""
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        results = []
        for seed in (1, 2):
            np.random.seed(seed)  # noqa: NPY002 - that is what tonic draws from
            torch.manual_seed(seed)
            results.append(_arrays(made._made(0)))
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
    same = len(results[0]) == len(results[1]) and all(
        a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in zip(*map(dict.values, results), strict=True)
    )
    if not same:
        raise ParameterError(
            "cached: the transform gives different results for one recording; give what is random as after=..., which "
            "is applied to each item as it is read."
        )


def _arrays(value: Any) -> dict[str, NDArray[Any]]:
    """Return a value as named arrays."""
    if isinstance(value, torch.Tensor) and value.layout == torch.strided:
        return {"tensor": value.detach().cpu().numpy()}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return {"array": value}
    raise ParameterError(
        f"cached: the transform gives {type(value).__name__}; accepted are NumPy arrays and dense tensors (make others "
        "in after=...)."
    )


def _save(path: Path, value: Any) -> None:
    """Write a value whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **_arrays(value))  # type: ignore[arg-type]
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _load(path: Path) -> Any:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        if "tensor" in file:
            return torch.from_numpy(file["tensor"])
        return file["array"]


def _add(content: Any, value: Any, where: str, seen: dict[int, tuple[int, Any]]) -> None:
    """Put a value into a hash: what it is and everything in it.

    Args:
        content: the hash.
        value: anything that has content.
        where: how it is reached, for the message.
        seen: objects that are in already, by id, with their numbers; kept so that no id is used again.
    """

    def put(*parts: object) -> None:
        for part in parts:
            data = part if isinstance(part, bytes) else str(part).encode()
            content.update(len(data).to_bytes(8, "little") + data)

    def inner(part: Any, name: str) -> None:
        _add(content, part, f"{where}.{name}", seen)

    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic, np.dtype, torch.dtype)):
        put(type(value).__name__, repr(value))
        return
    if id(value) in seen:
        put("again", seen[id(value)][0])
        return
    seen[id(value)] = len(seen), value
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        put("array", value.dtype.descr, value.shape, np.ascontiguousarray(value).tobytes())
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        put(type(value).__qualname__, len(parts))
        for number, part in enumerate(parts):
            inner(part, str(number))
    elif isinstance(value, Mapping):
        put("mapping", len(value))
        for name in value:
            put(repr(name))
            inner(value[name], str(name))
    elif isinstance(value, Path):
        put("path", value)
    elif isinstance(value, functools.partial):
        put("partial")
        inner([value.func, value.args, value.keywords], "partial")
    elif isinstance(value, types.ModuleType):
        put("module", value.__name__, _version(value.__name__) or _source(value))
    elif isinstance(value, types.MethodType):
        put("method")
        inner([value.__func__, value.__self__], value.__name__)
    elif isinstance(value, types.CodeType):
        # names in their order: the code refers to them by number
        put("code", value.co_code, value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars)
        put(value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags)
        for number, constant in enumerate(value.co_consts):
            inner(constant, str(number))
    elif isinstance(value, (types.BuiltinFunctionType, np.ufunc)):
        put("builtin", getattr(value, "__module__", ""), getattr(value, "__qualname__", getattr(value, "__name__", "")))
    elif isinstance(value, (types.FunctionType, type)):
        _add_code(put, inner, value)
    elif hasattr(value, "py_func"):  # compiled by Numba
        inner(value.py_func, "py_func")
    else:
        inner(type(value), "class")
        _add_state(put, inner, value, where)


def _add_code(put: Callable[..., None], inner: Callable[[Any, str], None], value: Any) -> None:
    """Put a function or class into a hash: one of an installed package by name and version, others by their code."""
    put("code of", value.__module__, value.__qualname__)
    version = _version(value.__module__)
    if version:
        put(version)
    elif isinstance(value, type):
        for name, part in sorted(vars(value).items()):
            functions = [getattr(part, n, None) for n in ("__func__", "fget")]
            if isinstance(part, types.FunctionType) or any(functions):
                put(name)
                inner(next((f for f in functions if f is not None), part), name)
            elif not name.startswith(("__", "_abc_")) and not inspect.isdatadescriptor(part):
                put(name)
                inner(part, name)
        for base in value.__bases__:
            inner(base, base.__name__)
    else:
        inner(value.__code__, "code")
        inner(value.__defaults__, "defaults")
        inner(value.__kwdefaults__, "defaults")
        for name in sorted(_names(value.__code__) & set(value.__globals__)):
            put(name)
            inner(value.__globals__[name], name)
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            put(name)
            inner(cell.cell_contents, name)


def _names(code: types.CodeType) -> set[str]:
    """Return the names that a function's code, and the code within it, looks up by name."""
    return set(code.co_names).union(*(_names(part) for part in code.co_consts if isinstance(part, types.CodeType)))


def _add_state(put: Callable[..., None], inner: Callable[[Any, str], None], value: Any, where: str) -> None:
    """Put an object's attributes into a hash."""
    slots = [s for kind in type(value).__mro__ for s in getattr(kind, "__slots__", ())]
    if not hasattr(value, "__dict__") and not slots:
        raise ParameterError(
            f"cached: {where} is a {type(value).__module__}.{type(value).__qualname__}, which has no content to make a "
            "key of; write it with plain arguments, or give key='...' and change it with every change."
        )
    state = dict(getattr(value, "__dict__", {}))
    state |= {name: getattr(value, name) for name in slots if hasattr(value, name)}
    for name in sorted(state):
        put(name)
        inner(state[name], name)


def _source(module: types.ModuleType) -> str:
    """Return a hash of a module's file."""
    path = getattr(module, "__file__", None)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path and Path(path).is_file() else ""


@functools.lru_cache(maxsize=256)
def _version(module: str) -> str:
    """Return what stands for the code of a module: the version of its package, "" where it is nobody's package.

    Our own package is hashed whole, for it may be worked on.
    """
    top = (module or "").partition(".")[0]
    if top in ("builtins", *sys.stdlib_module_names) and top != "__main__":
        return sys.version.split()[0]
    if top == "spikeframe":
        whole = hashlib.sha256()
        for path in sorted(Path(__file__).parents[1].rglob("*.py")):
            whole.update(path.read_bytes())
        return whole.hexdigest()
    try:
        return importlib.metadata.version(top)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ""

"""Training checkpoints: one safetensors file with every tensor, and JSON with everything else in its header.

A file is written under a temporary name and renamed, so that it is whole whenever it is there; its SHA-256 covers all.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from spikeframe.errors import CheckpointError, ConfigError

VERSION = 1


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file as a whole or not at all.

    Args:
        path: the file to make or replace.
        content: bytes, or text that is written as UTF-8.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None  # a full disk does not say which file
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Make a folder and keep other trainings out of it; the system lets them in again however this process ends.

    Args:
        folder: the run folder.

    Raises:
        ConfigError: another training writes into it now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{folder}: another training writes into this folder now; choose another, or wait until it has ended."
            ) from None
        except OSError:  # some network file systems know no locks
            pass
        yield
    finally:
        os.close(handle)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON description into one safetensors file.

    Args:
        path: the file to make or replace.
        tensors: by name, of any type safetensors holds.
        about: anything JSON holds.
    """
    kept = torch.contiguous_format
    plain = {name: tensor.detach().cpu().clone(memory_format=kept) for name, tensor in tensors.items()}
    text = json.dumps({"version": VERSION, **about})
    # One entry only: safetensors writes several in no fixed order, and equal checkpoints should be equal files.
    write_whole(path, save(plain, {"spikeframe": f"{_digest(plain, text)} {text}"}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Args:
        path: the file.

    Returns:
        Tensors by name, and the description.

    Raises:
        CheckpointError: the file is missing, damaged, or of another kind or version.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file ({error}); restore or delete it.") from None
    if "spikeframe" not in header:
        raise CheckpointError(f"{path} was not written by spikeframe: its header has no 'spikeframe' entry.")
    digest, _, text = header["spikeframe"].partition(" ")
    if _digest(tensors, text) != digest:
        raise CheckpointError(f"{path} is damaged: its content does not have the recorded SHA-256; restore a copy.")
    about: dict[str, Any] = json.loads(text)
    if about.get("version") != VERSION:
        raise CheckpointError(f"{path} has format version {about.get('version')}; this spikeframe reads {VERSION}.")
    return tensors, about


def load_weights(model: torch.nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Put weights into a model that has exactly these.

    Args:
        model: the model; unchanged if the weights do not fit.
        tensors: weights and buffers by name.
        where: the file, for the message.

    Raises:
        CheckpointError: a name is missing or unknown, or a shape or type differs.
    """
    own = model.state_dict()
    for kind, names in (("lacks", own.keys() - tensors.keys()), ("has the unknown", tensors.keys() - own.keys())):
        if names:
            raise CheckpointError(f"{where} {kind} weight {min(names)!r}; it belongs to another model.")
    for name, tensor in own.items():
        got = tensors[name]
        if got.shape != tensor.shape or got.dtype != tensor.dtype:
            raise CheckpointError(
                f"{where}: weight {name!r} is {got.dtype} {tuple(got.shape)}, the model's is {tensor.dtype} "
                f"{tuple(tensor.shape)}; it belongs to another model."
            )
    model.load_state_dict(dict(tensors))


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """Return a model without what `torch.compile` and data parallelism wrap around it, whose names are its own.

    Args:
        model: the model, wrapped or not.
    """
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel)):
            inner = model.module
        if not isinstance(inner, torch.nn.Module):
            return model
        model = inner


def flatten(value: Any, prefix: str, tensors: dict[str, Tensor]) -> Any:
    """Split a nested state into tensors and JSON.

    Args:
        value: dicts with str or int keys, lists, tuples, tensors and what JSON holds, nested.
        prefix: start of the tensors' names.
        tensors: gets the tensors.

    Returns:
        The same with every tensor replaced by its name, as JSON can hold it.

    Raises:
        CheckpointError: something else is in it.
    """
    if isinstance(value, Tensor):
        tensors[prefix] = value
        return {"tensor": prefix}
    if isinstance(value, dict):
        return {"dict": [[key, flatten(item, f"{prefix}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [flatten(item, f"{prefix}.{index}", tensors) for index, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise CheckpointError(f"{prefix} is {type(value).__name__}, which a checkpoint cannot hold without pickle.")


def unflatten(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Put back together what `flatten` split.

    Args:
        value: what it returned.
        tensors: the tensors by name.
    """
    if not isinstance(value, dict):
        return value
    (kind, content), *_ = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: unflatten(item, tensors) for key, item in content}
    items = [unflatten(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 over names, types, shapes and bytes of all tensors, and the text."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

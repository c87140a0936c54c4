"""Sparse layers in small files: weights and indices as safetensors, and nothing beside them.

Indices take two bytes where the layer has at most 65,536 neurons on that side; places of N:M weights are packed to
their bits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikeframe.errors import CheckpointError, SpikeframeError
from spikeframe.kernels.formats import from_arrays
from spikeframe.modules.structured.sparse_linear import SparseLinear

Array = NDArray[Any]


def save(layer: SparseLinear, path: str | Path) -> int:
    """Write a sparse layer, and return the bytes on disk.

    Args:
        layer: what to write.
        path: of the file.
    """
    from safetensors.numpy import save_file

    stored = layer.stored_format
    arrays = {name: np.ascontiguousarray(array) for name, array in stored.arrays().items()}
    if stored.name == "nm":
        bits = max(1, (stored.form["m"] - 1).bit_length())
        spread = (arrays["place"].reshape(-1, 1) >> np.arange(bits)) & 1
        arrays["place"] = np.packbits(spread.astype(bool))
    if "start" in arrays and stored.weight.size < 2**31:
        arrays["start"] = arrays["start"].astype(np.int32)
    arrays["weight"] = np.ascontiguousarray(stored.weight)
    if layer.bias is not None:
        arrays["bias"] = layer.bias.detach().cpu().numpy()
    told = {"format": stored.name, "shape": stored.shape, "form": stored.form}
    save_file(arrays, str(path), {"sparse_linear": json.dumps(told)})
    return Path(path).stat().st_size


def load(path: str | Path, **options: Any) -> SparseLinear:
    """Read a sparse layer.

    Args:
        path: of a file that `save` wrote.
        options: of `SparseLinear`.

    Raises:
        CheckpointError: the file is damaged, or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            told = json.loads((file.metadata() or {})["sparse_linear"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        shape, form = (int(told["shape"][0]), int(told["shape"][1])), dict(told["form"])
        bias = arrays.pop("bias", None)
        weight = arrays.pop("weight")
        if told["format"] == "nm":
            bits = max(1, (form["m"] - 1).bit_length())
            spread = np.unpackbits(arrays["place"], count=weight.size * bits).reshape(-1, bits)
            arrays["place"] = (spread << np.arange(bits)).sum(1).astype(np.uint8).reshape(weight.shape)
        if "start" in arrays:
            arrays["start"] = arrays["start"].astype(np.int64)
        stored = from_arrays(told["format"], shape, weight, arrays, form)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, SpikeframeError) as error:
        raise CheckpointError(
            f"{path}: no sparse layer can be read from it ({type(error).__name__}: {error}); it takes a file that "
            "spikeframe.modules.structured.save wrote."
        ) from error
    return SparseLinear(stored, None if bias is None else torch.from_numpy(bias), **options)

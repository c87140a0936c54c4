"""Random numbers that depend on (seed, epoch, purpose) alone, so that a run can be continued anywhere."""

from __future__ import annotations

import random

import numpy as np
import torch
from numpy.typing import NDArray

from spikeframe.errors import ParameterError

_ORDER, _GLOBAL = 1, 2


def check_seed(seed: int) -> int:
    """Return a seed as a plain integer, or raise ParameterError unless it is a whole number from 0 to 2^63 - 1."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise ParameterError(f"seed={seed!r}: must be a whole number from 0 to 2^63 - 1.")
    return int(seed)


def _generator(seed: int, epoch: int, purpose: int) -> np.random.Generator:
    """Return the generator of one purpose in one epoch; streams of different epochs never meet."""
    return np.random.Generator(np.random.Philox(key=check_seed(seed), counter=[0, 0, epoch, purpose]))


def epoch_order(samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order in which an epoch visits the samples.

    Args:
        samples: how many there are.
        seed: seed of the run.
        epoch: which epoch, from 0.

    Returns:
        A permutation of ``0 .. samples - 1``.
    """
    return _generator(seed, epoch, _ORDER).permutation(samples)


def seed_everything(seed: int, epoch: int = 0) -> None:
    """Seed the global generators of Python, NumPy and torch, each from its own part of one stream.

    Args:
        seed: seed of the run.
        epoch: which epoch, from 0.

    Raises:
        ParameterError: the seed is not a whole number from 0 to 2^63 - 1.
    """
    words = _generator(seed, epoch, _GLOBAL).integers(0, 2**32, 3, dtype=np.uint64)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))  # noqa: NPY002  (users' transforms may draw from it)
    torch.manual_seed(int(words[2]))

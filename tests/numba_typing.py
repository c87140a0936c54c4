"""Numba's types of operators, remembered: the same answers, found once.

For every operator on numbers Numba tries dozens of templates anew, at every place where it stands, and compares all
compiler flags each time; in a suite that compiles hundreds of short functions that takes a fifth of all compile time.
Programs that tests start do without, so Numba as it comes is under test there.
"""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.core.targetconfig import TargetConfig
from numba.core.types.functions import BaseFunction

_resolve = BaseFunction.get_call_type
_answers: dict[Any, Any] = {}


def remembered(function: Any, context: Any, args: Any, kws: Any) -> Any:
    """Return the signature of a call; only those on numbers that a fixed list holds are kept."""
    if kws or not all(isinstance(a, (types.Number, types.Boolean)) for a in args):
        return _resolve(function, context, args, kws)
    key = (function, context, tuple(args))
    found = _answers.get(key)
    if found is None:
        found = _resolve(function, context, args, kws)
        if any(found in getattr(template, "cases", ()) for template in function.templates):
            _answers[key] = found
    return found


def _hash(flags: TargetConfig) -> int:
    return hash(tuple(sorted(flags.options)))  # as Numba has it, without reading every flag


def _equal(flags: TargetConfig, other: object) -> Any:
    if not isinstance(other, TargetConfig):
        return NotImplemented
    return flags is other or flags._values == other._values or flags.values() == other.values()


def remember() -> None:
    """Use the above in this process."""
    BaseFunction.get_call_type = remembered
    TargetConfig.__hash__, TargetConfig.__eq__ = _hash, _equal

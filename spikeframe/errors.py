"""The one family of errors: what was got, where, what is accepted, what to do.

Every error that a user's input can cause derives from :class:`SpikeframeError` and from the built-in exception
that fits, so both ``except spikeframe.errors.SpikeframeError`` and ``except ValueError`` work.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class SpikeframeError(Exception):
    """Base of every error that spikeframe raises on purpose."""


class AccuracyWarning(UserWarning):
    """A run goes on, but its numbers are less exact than they look; the message says what to do.

    ``warnings.simplefilter("error", AccuracyWarning)`` makes it an error.
    """


class ParameterError(SpikeframeError, ValueError):
    """A parameter has a value outside its stated range."""


class ShapeError(SpikeframeError, ValueError):
    """An array has the wrong number of axes or the wrong length."""


class DTypeError(SpikeframeError, TypeError):
    """An array or value has the wrong type."""


class NonFiniteError(SpikeframeError, ValueError):
    """A NaN or an infinity where only finite values have a meaning."""


class TimeGridError(SpikeframeError, ValueError):
    """A time, delay or dt is not a positive multiple of the grid step, or is missing."""


class UnknownNameError(SpikeframeError, LookupError):
    """A name that is not known; the message suggests the nearest known ones."""


class TraceError(SpikeframeError, TypeError):
    """A neuron's ``step`` uses something that cannot be traced."""


class BackendError(SpikeframeError, RuntimeError):
    """A backend was asked for that is not available here."""


class UnsupportedLayerError(SpikeframeError, TypeError):
    """A model holds a layer that the event-driven core does not know."""


class ExactnessError(SpikeframeError, ValueError):
    """A bit-exact result was promised and the numbers given do not allow one."""


class ContractError(SpikeframeError, ValueError):
    """A module does not say what it is, or does not keep what it promises as a layer on spikes."""


class EventError(SpikeframeError, ValueError):
    """Events break the rules of an event array: fields, order of times, coordinates, polarity."""


class EventFileError(SpikeframeError, ValueError):
    """An event file is damaged or is not of the format it was read as.

    Args:
        path: the file.
        offset: byte at which reading failed.
        reason: what is wrong there and what was expected.
    """

    def __init__(self, path: str | Path, offset: int, reason: str) -> None:
        self.path = Path(path)
        self.offset = int(offset)
        self.reason = reason
        super().__init__(f"{self.path}: byte {self.offset}: {reason}")

    def __reduce__(self) -> tuple[type[EventFileError], tuple[Path, int, str]]:
        return type(self), (self.path, self.offset, self.reason)


class DataNotFoundError(SpikeframeError, FileNotFoundError):
    """A data set or file is not where it was looked for; the message says where to get it and where to put it."""


class ArchiveError(SpikeframeError, ValueError):
    """An archive is unsafe to extract, damaged, or does not match its hash."""


class CheckpointError(SpikeframeError, ValueError):
    """A checkpoint or run folder is damaged, incomplete or does not fit this model."""


class GraphError(SpikeframeError, ValueError):
    """A graph from another program (NIR) is damaged, incomplete, or says what cannot be run."""


class ConfigError(SpikeframeError, ValueError):
    """A run's configuration is inconsistent."""


#: Names that a message lists at most.
_SHOWN = 60


def known_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Return a name if it is one of the known ones.

    Args:
        kind: what the name stands for, e.g. ``"receptor"``.
        name: the name that was given, whatever it is.
        known: the names that are accepted.

    Raises:
        UnknownNameError: it is not known, or no text.
    """
    names = list(known)
    if not isinstance(name, str) or name not in names:
        raise unknown_name(kind, name, names)
    return name


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Build the error for a name that is not known, with the nearest known names.

    Args:
        kind: what the name stands for, e.g. ``"receptor"``.
        name: the name that was given.
        known: the names that are accepted.
    """
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return UnknownNameError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names[:_SHOWN]) or 'none'}{rest}.")

"""Defaults as the tables at the head of a file state them, beside those of its parameters and arguments."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import pytest
import torch

from spikeframe import learning_rules, neurons
from spikeframe import modules as spike_modules

NUMBER = re.compile(r"-?\d[\d,]*(\.\d+)?(e-?\d+)?")


def stated(text):
    """Name and default of every row of a file's tables, whose columns its rules of = mark."""
    found, columns, place = {}, [], None
    for line in text.splitlines():
        if re.fullmatch(r"=+( +=+)+", line):
            columns, place = [match.span() for match in re.finditer("=+", line)], place if columns else None
        elif columns and line[:1].strip():
            cells = [line[a:b].strip().replace("\\", "").strip("`") for a, b in columns]
            if "default" in cells:
                place = cells.index("default")
            elif place is not None and re.fullmatch(r"[a-z_0-9]+", cells[0]):
                found.setdefault(cells[0], cells[place])
    return found


def coded(module):
    """Defaults of every parameter of the classes, and every argument of classes and functions, that a file defines."""
    found = {}
    for part in vars(module).values():
        if (inspect.isclass(part) or inspect.isfunction(part)) and part.__module__ == module.__name__:
            pairs = [(name, p.default) for name, p in getattr(part, "PARAMETERS", {}).items()]
            made = part.__init__ if inspect.isclass(part) else part
            pairs += [(name, p.default) for name, p in inspect.signature(made).parameters.items()]
            for name, default in pairs:
                if isinstance(default, int | float | torch.Tensor) and not isinstance(default, bool):
                    found.setdefault(name, set()).add(float(default))
    return found


def modules():
    for home in (learning_rules, neurons, spike_modules):
        for about in pkgutil.walk_packages(home.__path__, home.__name__ + "."):
            module = importlib.import_module(about.name)
            table = stated(module.__doc__ or "")
            if any(NUMBER.fullmatch(table.get(name, "")) for name in coded(module)):
                yield pytest.param(module, table, id=about.name.removeprefix("spikeframe."))


@pytest.mark.parametrize(("module", "table"), list(modules()))
def test_defaults_are_those_of_the_table(module, table):
    for name, defaults in coded(module).items():
        text = table.get(name, "")
        if NUMBER.fullmatch(text):
            digits = max(3, len(re.sub(r"e.*|[^\d]", "", text).lstrip("0")))  # some tables round
            assert float(text.replace(",", "")) in {float(f"{d:.{digits}g}") for d in defaults}, (name, defaults)

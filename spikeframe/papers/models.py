"""A page per model, from its docstring and its code: equation, parameters, executions, costs, examples, papers.

A model is a public file of neurons, modules or learning rules whose docstring has an equation or a table. What runs it
is found out by trying: its step is traced and its kernels' text is generated, networks with it are laid out.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import nn

from spikeframe import learning_rules, modules, neurons
from spikeframe.core import Network, layout, precise_layout
from spikeframe.errors import SpikeframeError, unknown_name
from spikeframe.kernels.cuda import source as cuda
from spikeframe.kernels.differentiate import differentiate
from spikeframe.neurons import Neuron, Sequential
from spikeframe.papers import CLAIMS, ROOT

_TRACED = {
    "torch": "torch, step by step",
    "Numba": "fused Numba kernels, forward and backward",
    "CUDA": "fused CUDA kernels, forward and backward",
    "hidden": "event-driven run of a feed-forward network, in any layer",
    "readout": "event-driven run of a feed-forward network, as its last layer",
    "grid": "described networks, grid clock",
    "states": "described networks, grid clock, for its states: no synapse carries its graded output",
    "precise": "described networks, precise clock",
}
_OWN = {
    "event_driven": "runs event by event (`event_driven`)",
    "synapses": "gives synapses of a simulation (`synapses`)",
    "scan": "computes all steps at once (`scan`)",
}
_LEGEND = """What runs a neuron is found by trying: traced, generated (GPU kernels as text), laid out. The grid clock
runs on a GPU too, but for what `backend="cuda"` refuses by name. Numbers are operations of one update: additions,
multiplications, exponentials, comparisons."""


@dataclass(frozen=True)
class Model:
    """A file that describes a model.

    Attributes:
        name: of the file.
        module: what it holds.
    """

    name: str
    module: ModuleType

    @property
    def text(self) -> str:
        """The docstring."""
        return inspect.getdoc(self.module) or ""

    @property
    def title(self) -> str:
        """First line of the docstring."""
        return self.text.partition("\n")[0].rstrip(".")

    @property
    def classes(self) -> list[type]:
        """Public layers and neurons that the file defines."""
        own = [getattr(self.module, name) for name in self.names]
        return [kind for kind in own if inspect.isclass(kind) and issubclass(kind, nn.Module)]

    @property
    def names(self) -> list[str]:
        """Public names that the file defines."""
        return [n for n, o in vars(self.module).items()
                if not n.startswith("_") and getattr(o, "__module__", None) == self.module.__name__]  # fmt: skip

    @property
    def file(self) -> str:
        """Path below the source tree."""
        return self.module.__name__.replace(".", "/") + ".py"


@lru_cache(maxsize=1)
def models() -> dict[str, Model]:
    """Return all models by name."""
    found = {}
    for package in (neurons, modules, learning_rules):
        prefix = f"{package.__name__}."
        for entry in pkgutil.walk_packages(package.__path__, prefix):
            module = importlib.import_module(entry.name)
            if re.search(r"\.\. math::|^===", module.__doc__ or "", flags=re.MULTILINE):
                name = entry.name.removeprefix(prefix).strip("_")
                found[name] = Model(name, module)
    return dict(sorted(found.items()))


def executions(kind: type) -> dict[str, bool]:
    """Return which executions a neuron has.

    Args:
        kind: class of neurons that can be made without arguments.

    Returns:
        Keys of `_TRACED` to whether it runs there.
    """
    neuron: Neuron = kind(dt=1.0)
    program = neuron.program()

    def numba() -> None:
        differentiate(program, ())

    def cuda_kernels() -> None:
        cuda.forward_kernel(program, frozenset())
        cuda.backward_kernel(program, differentiate(program, ()), frozenset(), ())

    def chain(*behind: nn.Module) -> Callable[[], Any]:
        return lambda: Network.from_module(Sequential(nn.Linear(2, 2), kind(dt=1.0), *behind), (2,))

    def grid(net: Network) -> None:
        layout.lay_out(net, 1.0, 1, np.dtype(np.float32))

    def sending(net: Network) -> None:
        net.record("n", "spikes")
        grid(net)

    def described(lay: Callable[[Network], Any]) -> Callable[[], Any]:
        def run() -> None:
            net = Network(seed=1)
            reset = inspect.signature(kind).parameters.get("reset")
            choice = reset is not None and not isinstance(reset.default, bool)
            net.population("n", 2, kind(**({"reset": "value"} if choice else {})))  # precise clock: no other
            lay(net)

        return run

    tries = (
        lambda: None, numba, cuda_kernels, chain(nn.Linear(2, 2), neurons.LIF(dt=1.0)), chain(),
        described(sending), described(grid),
        described(lambda net: precise_layout.lay_out(net, 1)),
    )  # fmt: skip
    return dict(zip(_TRACED, map(_works, tries), strict=True))


def _works(attempt: Callable[[], Any]) -> bool:
    try:
        attempt()
    except SpikeframeError:
        return False
    return True


def page(name: str) -> str:
    """Return a model's page, in Markdown.

    Args:
        name: of the model, or of a class in its file.

    Raises:
        UnknownNameError: there is no such model.
    """
    known = models()
    homes = {kind.__name__: model for model in known.values() for kind in model.classes}
    model = known.get(name) or homes.get(name)
    if model is None:
        raise unknown_name("model", name, [*known, *homes])
    lines = [f"# {markdown(model.title)}", "", markdown(model.text.partition("\n")[2]), ""]
    for kind in model.classes:
        lines += _about(kind)
    rest = [name for name in model.names if getattr(model.module, name) not in model.classes]
    if rest and model.module.__package__ != neurons.__name__:
        lines += ["| also here | |", "|---|---|"]
        lines += [f"| `{name}` | {_summary(getattr(model.module, name))} |" for name in rest] + [""]
    told = {model.module.__name__, *(name for name in model.names if name[0].isupper())}
    links = {
        "Code": [model.file],
        "Examples": [f"examples/{path.name}" for path, used in _used().items() if used & told],
        "Tests": [f"tests/{model.file.split('/')[1]}/test_{model.name}.py"],
    }
    for label, paths in links.items():
        there = [f"[{Path(path).name}](../../{path})" for path in paths if (ROOT / path).is_file()]
        lines += [f"{label}: {', '.join(there)}", ""] if there else []
    rows = [claim for claim in CLAIMS if f"spikeframe.{claim.object}".startswith(f"{model.module.__name__}.")]
    if rows:
        lines += ["| paper | published | here | verdict |", "|---|---|---|---|"]
        lines += [f"| [{row.number}] {row.title} | {row.claim} | {row.measured or '-'} | {row.verdict}"
                  f"{f': {row.why}' if row.why else ''} |" for row in rows]  # fmt: skip
        lines.append("")
    return "\n".join(lines)


def _summary(thing: Any) -> str:
    """Return the first paragraph of a docstring on one line."""
    return markdown((inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " "))


def _about(kind: type) -> Iterator[str]:
    """Yield what the code says of a class."""
    yield from (f"## {kind.__name__}", "", _summary(kind), "")
    if not issubclass(kind, Neuron):
        own = [what for name, what in _OWN.items() if hasattr(kind, name)]
        yield from (f"Executions: torch; {'; '.join(own)}." if own else "Executions: torch.", "")
        return
    neuron: Neuron = kind(dt=1.0)
    works = executions(kind)
    more = {"readout": "hidden", "states": "grid"}  # what is said only where there is not more
    runs = [words for name, words in _TRACED.items() if works[name] and not works.get(more.get(name, ""), False)]
    waits = "silent blocks are skipped" if neuron.waiting_program() is not None else "no step is skipped"
    costs = ", ".join(f"{_CLASSES[key]} {n}" for key, n in neuron.operations().items())
    yield from (f"Executions: {'; '.join(runs)}. Event by event, {waits}.", "", f"An update: {costs}.", "")
    yield from ("| state | unit | meaning |", "|---|---|---|")
    for name, state in neuron.all_states().items():
        yield f"| `{name}` | {state.unit} | {state.doc} |"
    yield ""
    if kind.PARAMETERS and "\nparameter  " not in (inspect.getmodule(kind).__doc__ or ""):
        yield from ("| parameter | default | unit | range | meaning |", "|---|---|---|---|---|")
        for name, row in kind.PARAMETERS.items():
            bounds = [f"{sign} {bound:g}" for sign, bound in ((">", row.above), (">=", row.least)) if bound is not None]
            yield f"| `{name}` | {row.default:g} | {row.unit} | {', '.join(bounds)} | {row.doc} |"
        yield ""


_CLASSES = {"ac": "additions", "mac": "multiplications", "exp": "exponentials", "cmp": "comparisons"}


@lru_cache(maxsize=1)
def _used() -> dict[Path, set[str]]:
    """Return, per example, the modules and names that it imports, and what it takes from a module."""
    found = {}
    for path in sorted((ROOT / "examples").glob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        imports = [n for n in nodes if isinstance(n, ast.ImportFrom)]
        found[path] = {n.attr for n in nodes if isinstance(n, ast.Attribute)} | {n.module or "" for n in imports}
        found[path] |= {f"{n.module}.{a.name}" for n in imports for a in n.names}
        found[path] |= {a.name for n in imports for a in n.names}
    return found


def table() -> list[dict[str, Any]]:
    """Return a row per class, or per file without one: file, class, title, and a neuron's executions and operations."""
    rows: list[dict[str, Any]] = []
    for model in models().values():
        for kind in model.classes or [object]:
            named = "" if kind is object else kind.__name__
            row: dict[str, Any] = {"model": model.name, "class": named, "title": model.title}
            if issubclass(kind, Neuron):
                row |= {"executions": executions(kind), "operations": kind(dt=1.0).operations()}
            rows.append(row)
    return rows


def index() -> str:
    """Return the page that lists all models, in Markdown."""
    lines = ["# Models", "", "Written by `spikeframe models --write docs/models`.", ""]
    lines += [f"- `{name}`: {words}" for name, words in _TRACED.items()]
    lines += ["", _LEGEND, ""]
    lines += [f"| neuron | {' | '.join(_TRACED)} | + | x | exp | cmp |", "|---|" + ":-:|" * len(_TRACED) + "--:|" * 4]
    rest = ["", "| layer or method | | |", "|---|---|---|"]
    for row in table():
        page = f"{row['model']}.md"
        if "executions" in row:
            cells = ["yes" if works else "" for works in row["executions"].values()]
            cells += map(str, row["operations"].values())
            lines.append(f"| [{row['class']}]({page}) | {' | '.join(cells)} |")
        else:
            rest.append(f"| [{row['model']}]({page}) | {row['class']} | {markdown(row['title'])} |")
    return "\n".join([*lines, *rest, ""])


def write(folder: Path) -> list[Path]:
    """Write all pages and the index, and return their paths.

    Args:
        folder: made if it is not there; pages of models that are gone are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"README": index(), **{name: page(name) for name in models()}}
    for path in folder.glob("*.md"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    return [folder / f"{name}.md" for name in pages]


def markdown(text: str) -> str:
    """Turn a docstring into Markdown: equations, tables and literals.

    Args:
        text: reStructuredText as docstrings here have it.
    """
    text = re.sub(r":math:`([^`]*)`", r"$`\1`$", text)
    lines, found = text.strip().splitlines(), []
    while lines:
        line = lines.pop(0)
        if line.lstrip().startswith(".. math::"):
            indent = line[: len(line) - len(line.lstrip())]
            body = [line.strip().removeprefix(".. math::")]
            while lines and (not lines[0].strip() or lines[0].startswith(f"{indent} ")):
                body.append(lines.pop(0))
            found += [f"{indent}{part}" for part in ("```math", *(p.strip() for p in body if p.strip()), "```")] + [""]
        elif re.fullmatch(r"=+(  +=+)+", line):
            found += _table(line, lines)
        else:
            found.append(line.replace("``", "`"))
    return "\n".join(found)


def _table(border: str, lines: list[str]) -> list[str]:
    """Take a simple table off the lines, whose upper border was read, and return it as Markdown."""
    starts = [m.start() for m in re.finditer(r"=+", border)]
    rows: list[list[str]] = []
    borders = 1
    while borders < 3:
        line = lines.pop(0)
        if line == border:
            borders += 1
            continue
        ends = [*starts[1:], None]
        cells = [re.sub(r"(?<!\\)\|", r"\\|", line[a:b].strip()) for a, b in zip(starts, ends, strict=True)]
        if cells[0] or not rows or borders == 1:
            rows.append(cells)
        else:  # a line that goes on
            rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1], cells, strict=True)]
    head, *body = rows
    return [f"| {' | '.join(row)} |".replace("``", "`") for row in (head, ["---"] * len(head), *body)]

"""The project's own rules: layers, lazy imports, safe loading, lint, types."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "spikeframe"

# Imports run downwards: a part may import those of a smaller number, and itself.
LAYER = {
    "errors": 0,
    "text": 0,
    "hdf5": 1,
    "kernels": 1,
    "neurons": 2,
    "analysis": 2,
    "learning_rules": 3,
    "datasets": 3,
    "core": 4,
    "modules": 4,
    "energy": 5,
    "adapters": 6,
    "plots": 6,
    "training": 6,
    "papers": 6,
    "cli": 7,
    "__main__": 8,
}
# Neurons need a default surrogate; this one module of the rules imports nothing but kernels.
# Layers that run on events return the core's counts, which import nothing but errors.
ALLOWED = {("neurons", "spikeframe.learning_rules.surrogates"), ("modules", "spikeframe.core.counts")}


def imports(path: Path) -> list[str]:
    """Return the modules of this package that a file imports, wherever in the file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("spikeframe"):
            found += [node.module] if node.module != "spikeframe" else [f"spikeframe.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("spikeframe.")]
    return found


def test_imports_run_downwards_only():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for name in imports(path):
            target = name.split(".")[1]
            if target == part or target not in LAYER or (part, name) in ALLOWED:
                continue
            if LAYER[target] >= LAYER[part]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_importing_the_package_imports_nothing_heavy():
    heavy = ["torch", "numba", "norse", "tonic", "matplotlib", "cupy", "scipy", "h5py", "sklearn"]
    code = f"import sys, spikeframe; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"


def test_using_neurons_and_the_core_imports_no_optional_library():
    heavy = ["norse", "tonic", "matplotlib", "cupy", "sklearn", "torch._dynamo"]
    code = f"import sys, spikeframe as sf; sf.Network, sf.neurons.LIF; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "pattern",
    [
        r"import c?pickle|\bpickle\.(load|dump)",
        r"allow_pickle=True",
        r"weights_only=False",
        r"\btorch\.load\(",
        r"(?<![.\w])eval\(",
        r"\bexec\(",
        r"^\s*assert\s",
    ],
)
def test_the_package_has_no_unsafe_loading_and_no_assert(pattern):
    found = [name for name, text in code().items() if re.search(pattern, text, flags=re.MULTILINE)]
    assert not found


@cache
def code() -> dict[str, str]:
    """The package's modules without docstrings and comments, by path."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False):
                node.body[0] = ast.Pass()
        found[str(path.relative_to(ROOT))] = ast.unparse(tree)
    return found


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=" ".join
)
def test_lint_and_types_are_clean(command):
    tool = shutil.which(command[0], path=str(Path(sys.executable).parent)) or shutil.which(command[0])
    if tool is None:
        pytest.skip(f"{command[0]} is not installed")
    extra = [f"--cache-dir={os.devnull}"] if command[0] == "mypy" else []
    answer = subprocess.run([tool, *command[1:], *extra], capture_output=True, text=True, check=False, cwd=ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr

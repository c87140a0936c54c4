"""Other programs and we give the same spikes through a NIR graph, as the documentation says."""

from __future__ import annotations

import importlib
import importlib.util
import json
import warnings
from pathlib import Path

import pytest

from tests.stepping import stepped

pytest.importorskip("nir", reason="nir is not installed")


@pytest.fixture(scope="module")
def exchange():
    """The benchmark whose table the documentation shows."""
    path = Path(__file__).parents[2] / "benchmarks" / "exchange.py"
    spec = importlib.util.spec_from_file_location("exchange", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["LIF", "IF", "CubaLIF", "conv", "recurrent"])
@pytest.mark.parametrize("program", ["norse", "snntorch", "spikingjelly", "sinabs"])
def test_other_programs_and_we_give_the_same_spikes(program, kind, exchange):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(program)
    except ImportError as error:
        pytest.skip(f"{program} cannot be imported here ({error})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = exchange.row(program, kind, 40, stepped, "reference")
    for direction in ("written", "read"):
        cell = found[direction]
        if (program, kind, direction) in exchange.CANNOT:
            assert exchange.CANNOT[program, kind, direction] in str(cell)
        else:
            assert cell["differ"] == 0
            assert cell["spikes"] > 20
            if direction == "written":
                assert cell["core"]["differ"] == 0
                assert cell["core"]["spikes"] >= cell["spikes"] - cell["core"]["from theirs"]


def test_the_documented_table_is_the_measured_one(exchange):
    result = json.loads(exchange.RESULTS.read_text(encoding="utf8"))
    page = Path(__file__).parents[2] / "docs" / "exchange.md"
    assert exchange.markdown(result) in page.read_text(encoding="utf8")
    for (program, kind, way), words in exchange.CANNOT.items():
        assert words in str(result["table"][program][kind][way])

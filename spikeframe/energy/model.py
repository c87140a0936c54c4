"""Energy models: a name, a function from counts to pJ, and what the figures leave out."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from spikeframe.core.counts import Counts
from spikeframe.energy import formulas, lemaire
from spikeframe.errors import ConfigError, DataNotFoundError, ParameterError, unknown_name

_FORMULAS: Mapping[str, tuple[Callable[[Mapping[str, float], Counts], dict[str, float]], tuple[str, ...]]] = {
    "prices": (formulas.prices, formulas.PRICES),
    "syops": (formulas.syops, formulas.PRICES),
    "lemaire": (lemaire.lemaire, lemaire.CONSTANTS),
}
_KEYS = ("title", "caveat", "extends", "formula", "bits", "runs_macs", "constants")


@dataclass(frozen=True)
class EnergyModel:
    """A way to turn the counts of one layer into energy.

    Attributes:
        name: short name.
        title: what a reader sees.
        price: function from the counts of a layer to pJ by category.
        caveat: what the model leaves out.
        sources: where each constant comes from, one line each.
        runs_macs: whether the modelled hardware also runs a non-spiking network.
        static_pj_per_step: static energy of the whole network per time step, pJ.
    """

    name: str
    title: str
    price: Callable[[Counts], dict[str, float]]
    caveat: str = ""
    sources: tuple[str, ...] = ()
    runs_macs: bool = True
    static_pj_per_step: float = 0.0

    def with_static(self, milliwatt: float, step_ms: float) -> EnergyModel:
        """Add static power: E_static = P * T_run, charged once for the network.

        Args:
            milliwatt: static power in mW, >= 0.
            step_ms: wall time of one time step in ms, >= 0.

        Returns:
            The same model with ``static_pj_per_step`` set (1 mW * 1 ms = 10^6 pJ).

        Raises:
            ParameterError: a value is negative or not finite.
        """
        for name, value in (("milliwatt", milliwatt), ("step_ms", step_ms)):
            _check_amount(f"{name} of with_static", value)
        note = f"static power: {milliwatt:g} mW for {step_ms:g} ms a step, given by the user"
        return replace(self, static_pj_per_step=milliwatt * step_ms * 1e6, sources=(*self.sources, note))


def chip(name: str, *, synop: float, update: float = 0.0, hop: float = 0.0, source: str) -> EnergyModel:
    """Make a model of a chip from your own figures, E = SOp * e_sop + updates * e_update + events * e_hop.

    Args:
        name: name of the chip, e.g. ``"loihi2"``.
        synop: energy of one synaptic operation, pJ.
        update: energy of one neuron update, pJ.
        hop: energy of sending one event to one layer, pJ.
        source: where the figures come from; printed with the result.

    Returns:
        The model.

    Raises:
        ParameterError: a value is negative or not finite.
    """
    constants = {"synop": synop, "update": update, "hop": hop}
    for key, value in constants.items():
        _check_amount(f"{key} of chip {name!r}", value)
    return EnergyModel(
        name=f"chip:{name}",
        title=name,
        price=partial(formulas.prices, constants),
        caveat="Figures given by the user.",
        sources=tuple(f"{key}: {value:g} pJ ({source})" for key, value in constants.items()),
        runs_macs=False,
    )


@cache
def models() -> Mapping[str, EnergyModel]:
    """Return the models that come with the package, by name."""
    return MappingProxyType(load_models(Path(__file__).with_name("models.toml")))


def load_models(path: str | Path) -> dict[str, EnergyModel]:
    """Read energy models from a TOML file; the package's own ``energy/models.toml`` shows the form.

    Args:
        path: the file.

    Returns:
        Models by name, in the order of the file.

    Raises:
        DataNotFoundError: there is no such file.
        ConfigError: the file is not TOML, or a table misses a value, unit or source.
        UnknownNameError: a key, formula or constant is not known.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataNotFoundError(f"No file of energy models at {path}: give the path of a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file of energy models: {error}") from error
    return {name: _read(name, tables, path) for name in tables}


def get_model(model: str | EnergyModel) -> EnergyModel:
    """Return a model by name, or the model itself.

    Raises:
        UnknownNameError: no model has that name.
    """
    if isinstance(model, EnergyModel):
        return model
    if model not in models():
        raise unknown_name("energy model", model, models())
    return models()[model]


def _read(name: str, tables: Mapping[str, Any], path: Path) -> EnergyModel:
    """Build one model from its table."""
    table = _inherit(name, tables, path, ())
    where = f"energy model {name!r} in {path}"
    formula = table.get("formula", "prices")
    if formula not in _FORMULAS:
        raise unknown_name(f"formula of {where}", formula, _FORMULAS)
    function, known = _FORMULAS[formula]
    bits = table.get("bits", 32)
    if isinstance(bits, bool) or bits not in (1, 2, 4, 8, 16, 32, 64):
        raise ConfigError(f"bits of {where} is {bits!r}: accepted are 1, 2, 4, 8, 16, 32 and 64.")
    constants, sources = {"bits": float(bits)}, []
    for key, entry in table["constants"].items():
        if key not in known or key == "bits":
            raise unknown_name(f"constant of {where}", key, set(known) - {"bits"})
        constants[key] = _constant(f"{key} of {where}", entry, bits)
        sources.append(f"{key}: {entry['value']:g} {entry['unit']} ({entry['source']})")
    required = {"syops": ("ac", "mac"), "lemaire": lemaire.CONSTANTS}.get(formula, ())
    if missing := [key for key in required if key not in constants]:
        raise ConfigError(f"{where} misses the constants {', '.join(missing)}, which formula {formula!r} needs.")
    return EnergyModel(
        name=name,
        title=str(table.get("title", name)),
        price=partial(function, MappingProxyType(constants)),
        caveat=str(table.get("caveat", "")),
        sources=tuple(sources),
        runs_macs=bool(table.get("runs_macs", True)),
    )


def _inherit(name: str, tables: Mapping[str, Any], path: Path, seen: Iterable[str]) -> dict[str, Any]:
    """Merge a table with the one it extends."""
    table = tables[name]
    if not isinstance(table, dict) or not isinstance(table.get("constants", {}), dict):
        raise ConfigError(f"{name!r} in {path} is not a table with a table `constants`: see energy/models.toml.")
    if unknown := [key for key in table if key not in _KEYS]:
        raise unknown_name(f"key of energy model {name!r} in {path}", unknown[0], _KEYS)
    base: dict[str, Any] = {"constants": {}}
    if "extends" in table:
        parent = table["extends"]
        if parent not in tables:
            raise unknown_name(f"model that {name!r} in {path} extends", parent, tables)
        if parent in (*seen, name):
            raise ConfigError(f"Energy model {name!r} in {path} extends itself.")
        base = _inherit(parent, tables, path, (*seen, name))
    return {**base, **table, "constants": {**base["constants"], **table.get("constants", {})}}


def _constant(where: str, entry: Any, bits: int) -> float:
    """Check one constant and scale it to the model's word width."""
    if not isinstance(entry, dict) or set(entry) != {"value", "unit", "source"} or not str(entry["source"]).strip():
        raise ConfigError(f"{where} is {entry!r}: needs value, unit and source.")
    try:
        value = _check_amount(where, entry["value"])
    except ParameterError as error:
        raise ConfigError(str(error)) from error
    units = {"pJ": 1.0, "pJ per 64-bit access": bits / 64, "pJ per bit of the memory": 1.0}
    if entry["unit"] not in units:
        raise unknown_name(f"unit of {where}", entry["unit"], units)
    return value * units[entry["unit"]]


def _check_amount(where: str, value: Any) -> float:
    """Return a finite amount >= 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ParameterError(f"{where} is {value!r}: needs a finite number >= 0.")
    return float(value)

"""Random networks in spikeframe, NEST and Brian2 (C++ standalone), run in turns in one command.

    python benchmarks/simulation.py [--quick] [--nest-python PYTHON] [--brian2-python PYTHON] [--out FOLDER]
    python benchmarks/simulation.py --networks --out FOLDER    # the full microcircuit, alone

Every run is a process of its own that gets the same network description (benchmarks/networks.py) with a new seed,
builds it, simulates, and hands back times and all spikes (benchmarks/peers/). Given are medians; building, with all
compilation, apart from running. Peers run shorter, as a second takes them as long. Rates, irregularity and synchrony
are held to the bands in peers/statistics.json. The floor is what plain loops need for the same numbers of neuron
updates and synaptic events on one core; Poisson drive is not in it. On a quiet machine of two cores all takes a quarter
of an hour. A peer that fails or needs ten minutes for a run is left out. Environments for NEST and Brian2 are made on
first use where no interpreter is given.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import table, write_json
from floors import events_per_second, updates_per_second
from growth import linearity
from matplotlib.figure import Figure
from networks import NETWORKS, plain
from peers.environments import python_of
from spike_statistics import describe

HERE = Path(__file__).parent
DT = 0.1
#: Seconds after which a run is given up.
LIMIT = 600
BANDS = json.loads((HERE / "peers" / "statistics.json").read_text(encoding="utf-8"))


class FailedRun(Exception):
    """A run that did not end well."""


@dataclass(frozen=True)
class Contender:
    """A simulator with its settings."""

    simulator: str
    python: str
    threads: int
    dtype: str = "float64"

    @property
    def name(self) -> str:
        """Shown in tables."""
        dtype = " float64" if self.simulator == "spikeframe" and self.dtype == "float64" else ""
        return f"{self.simulator}{dtype}, {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass(frozen=True)
class Case:
    """A network and how long it runs, ms: `warm` is timed but not in the statistics; peers run for `short` instead."""

    network: str
    scale: float
    warm: float
    duration: float
    short: float

    def seconds(self, simulator: str) -> float:
        """Return how long a simulator runs, warming up included."""
        return (self.warm + (self.duration if simulator == "spikeframe" else self.short)) * 1e-3

    @property
    def name(self) -> str:
        """Shown in tables."""
        return f"{self.network} {self.scale:.0%}"


FULL = [
    Case("cuba", 1.0, 500.0, 10_000.0, 3_000.0),
    Case("coba", 1.0, 500.0, 3_000.0, 1_000.0),
    Case("brunel", 1.0, 499.5, 1_500.0, 500.0),
    Case("microcircuit", 0.1, 500.0, 10_000.0, 2_000.0),
]
QUICK = [
    Case("cuba", 0.25, 50.0, 150.0, 150.0),
    Case("coba", 0.25, 50.0, 150.0, 150.0),
    Case("brunel", 0.1, 50.0, 150.0, 150.0),
    Case("microcircuit", 0.03, 50.0, 150.0, 150.0),
]


def run(contender: Contender, case: Case, seed: int, folder: Path) -> dict[str, Any]:
    """Run one network in one simulator; returns what it reports and the statistics of its spikes."""
    network = plain(NETWORKS[case.network](scale=case.scale))
    request = {
        "network": case.network if contender.simulator == "spikeframe" else network, "scale": case.scale,
        "duration": 1e3 * case.seconds(contender.simulator), "dt": DT, "threads": contender.threads, "seed": seed,
        "dtype": contender.dtype, "folder": str(folder),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    script = HERE / "peers" / f"{contender.simulator}_networks.py"
    started = time.perf_counter()
    try:
        done = subprocess.run(
            [contender.python, str(script)], input=json.dumps(request), capture_output=True, text=True, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        raise FailedRun(f"{contender.name} took more than {LIMIT} s on {case.name}") from None
    if done.returncode:
        raise FailedRun(f"{contender.name} failed on {case.name}:\n{done.stderr[-3000:]}")
    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    spikes = np.load(folder / "spikes.npz")
    sizes = {p["name"]: p["size"] for p in network["populations"]}
    report["seconds_per_second"] = report["run_s"] / case.seconds(contender.simulator)
    report["statistics"] = describe(spikes, sizes, case.warm, request["duration"])
    print(
        f"{case.name}, {contender.name}: built in {report['build_s']:.1f} s, ran in {report['run_s']:.2f} s, "
        f"all {time.perf_counter() - started:.1f} s",
        file=sys.stderr,
    )
    return report


def averaged(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return every statistic's mean over runs."""
    first = runs[0]["statistics"]
    return {p: {q: float(np.mean([r["statistics"][p][q] for r in runs])) for q in first[p]} for p in first}


def outside(case: Case, found: dict[str, Any]) -> list[str]:
    """Return the statistics that leave the reference's band; nothing is known of other scales and durations."""
    band = BANDS[case.network]
    if (band["scale"], band["sim_ms"]) != (case.scale, case.duration):
        return []
    wrong = []
    for (name, wanted), mine in zip(band["bands"].items(), found.values(), strict=True):
        for quantity, b in wanted.items():
            if not abs(mine[quantity] - b["mean"]) <= b["tolerance"]:
                wrong.append(f"{name} {quantity}: {mine[quantity]:.4g}, not {b['mean']:.4g} +- {b['tolerance']:.2g}")
    return wrong


def compare(case: Case, contenders: list[Contender], rounds: dict[str, int], folder: Path) -> dict[str, Any]:
    """Run all contenders in turns, each simulator for so many rounds, and summarise."""
    runs: dict[str, list[dict[str, Any]]] = {c.name: [] for c in contenders}
    for turn in range(max(rounds.values())):
        for c in (c for c in contenders if c.name in runs and turn < rounds[c.simulator]):
            place = folder / f"{case.network}-{case.scale}-{c.simulator}-{c.threads}"
            try:
                runs[c.name].append(run(c, case, seed=turn + 1, folder=place))
            except FailedRun as failure:
                if c.simulator == "spikeframe":
                    raise SystemExit(str(failure)) from None
                print(f"left out: {failure}", file=sys.stderr)
                del runs[c.name]
    seconds = case.seconds("spikeframe")
    summary = {name: _summary(case, found, name.startswith("spikeframe")) for name, found in runs.items()}
    ours = min((n for n in summary if n.startswith("spikeframe,")), key=lambda n: summary[n]["seconds_per_second"])
    peers = {n: s["seconds_per_second"] for n, s in summary.items() if not n.startswith("spikeframe")}
    result: dict[str, Any] = {"network": case.network, "scale": case.scale, "duration_ms": seconds * 1e3, "ours": ours}
    if peers:
        best = min(peers, key=lambda n: peers[n])
        result["best_peer"] = best
        result["over_best_peer"] = peers[best] / summary[ours]["seconds_per_second"]
        if "nest, 2 threads" in peers:
            result["over_nest_2_threads"] = peers["nest, 2 threads"] / summary[ours]["seconds_per_second"]
    return {**result, **_work(case, runs[ours]), "contenders": summary}


def _summary(case: Case, found: list[dict[str, Any]], ours: bool) -> dict[str, Any]:
    """Return medians, the spread of the runs, the first build and the statistics of one contender."""
    per_second = [r["seconds_per_second"] for r in found]
    mean = averaged(found)
    return {
        "seconds_per_second": statistics.median(per_second), "least": min(per_second), "most": max(per_second),
        "first_build_s": found[0]["build_s"], "build_s": statistics.median(r["build_s"] for r in found),
        "peak_mb": max((r["peak_mb"] for r in found if "peak_mb" in r), default=None),
        "statistics": mean, "outside": outside(case, mean) if ours else [],
    }  # fmt: skip


def _work(case: Case, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return synapses, memory, throughput and floor of our own runs."""
    one = found[0]
    neurons = sum(p["size"] for p in plain(NETWORKS[case.network](scale=case.scale))["populations"])
    run_s = statistics.median(r["run_s"] for r in found)
    drawn = case.network == "microcircuit"
    peak = max(r["peak_mb"] for r in found)
    updates = updates_per_second(neurons)
    events = events_per_second(neurons, one["synapses"] // neurons, drawn)
    floor = one["neuron_updates"] / updates + one["synaptic_events"] / events
    return {
        "neurons": neurons, "synapses": one["synapses"], "peak_gb": peak / 1024,
        "bytes_per_synapse": one["synapse_bytes"] / max(one["synapses"], 1),
        "resident_bytes_per_synapse": one["built_bytes"] / max(one["synapses"], 1),
        "neuron_updates_per_s": one["neuron_updates"] / run_s, "synaptic_events_per_s": one["synaptic_events"] / run_s,
        "poisson_arrivals_per_s": one["poisson_arrivals"] / run_s,
        "floor": {"updates_per_s": updates, "events_per_s": events, "seconds": floor, "of_run": floor / run_s},
    }  # fmt: skip


def figure(cases: list[dict[str, Any]], growth: dict[str, Any]) -> Figure:
    """Draw seconds a simulated second, and seconds against synaptic events."""
    picture = Figure(figsize=(11, 4.4), layout="constrained", facecolor="white")
    left, right = picture.subplots(1, 2, width_ratios=[2, 1])
    colours = {"spikeframe": "#0072b2", "nest": "#d55e00", "brian2": "#e69f00"}
    names = list(dict.fromkeys(n for c in cases for n in c["contenders"]))
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        have = [(k, c["contenders"][name]) for k, c in enumerate(cases) if name in c["contenders"]]
        colour = colours[name.split(",")[0].split()[0]]
        left.bar(
            [k + (i - (len(names) - 1) / 2) * width for k, _ in have], [s["seconds_per_second"] for _, s in have],
            width * 0.9, color=colour, alpha=1.0 if "2 threads" in name else 0.55, hatch="//" * ("float64" in name),
            edgecolor="white", label=name.replace("nest", "NEST").replace("brian2", "Brian2"),
        )  # fmt: skip
    left.axhline(1.0, color="#6e7781", linewidth=0.8, linestyle="--")
    left.text(-0.5, 1.0, "real time", color="#6e7781", fontsize=8, ha="left", va="bottom")
    left.set_yscale("log")
    left.set_xticks(
        range(len(cases)), [f"{c['network']}\n{c['synapses'] / 1e6:.3g} M synapses" for c in cases], fontsize=9
    )
    left.set_ylabel("seconds per simulated second")
    left.legend(frameon=False, fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    events, fit = np.array([r["events"] for r in growth["rows"]]) / 1e6, growth["fit"]
    right.plot(events, [r["seconds"] for r in growth["rows"]], "o", color="#0072b2", label="measured")
    line = f"{fit['seconds']:.2f} s + {fit['ns_per_event']:.2f} ns an event"
    right.plot(events, fit["seconds"] + fit["ns_per_event"] * 1e-3 * events, color="#24292f", label=line, zorder=0)
    right.set(xlabel="million synaptic events", ylabel="seconds", ylim=(0, None), xlim=(0, None))
    right.legend(frameon=False, fontsize=8)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    return picture


def tables(cases: list[dict[str, Any]], growth: dict[str, Any]) -> str:
    """Lay the results out as text."""
    names = list(dict.fromkeys(n for c in cases for n in c["contenders"]))
    times, builds, work = [], [], []
    for c in cases:
        name = f"{c['network']} {c['scale']:.0%}"
        got = [c["contenders"].get(n) for n in names]
        ratios = [c.get("over_best_peer", ""), c.get("over_nest_2_threads", "")]
        times.append([name, *(g["seconds_per_second"] if g else "" for g in got), *ratios])
        builds.append([name, *(f"{g['first_build_s']:.1f}/{g['build_s']:.1f}" if g else "" for g in got)])
        work.append([
            name, c["neurons"], c["synapses"], c["bytes_per_synapse"], c["peak_gb"], c["neuron_updates_per_s"] / 1e6,
            c["synaptic_events_per_s"] / 1e6, c["poisson_arrivals_per_s"] / 1e6, f"{c['floor']['of_run']:.0%}",
        ])  # fmt: skip
    head = [
        "network",
        "neurons",
        "synapses",
        "bytes/synapse",
        "peak GB",
        "M updates/s",
        "M events/s",
        "M arrivals/s",
        "floor/run",
    ]
    rows = [[f"{r['events']:,}", r["seconds"], r["off_line"]] for r in growth["rows"]]
    like = [
        [
            f"{c['network']} {c['scale']:.0%}",
            name,
            every["rate_hz"],
            first["cv_isi"],
            every["fano_3ms"],
            every["correlation_3ms"],
        ]
        for c in cases
        for name, s in c["contenders"].items()
        for first, every in [(next(iter(s["statistics"].values())), s["statistics"]["all"])]
    ]
    alike = ["network", "simulator", "spikes/s", "CV, first population", "Fano, 3 ms", "correlation, 3 ms"]
    return "\n\n".join([
        "Seconds per simulated second, medians\n" + table(times, ["network", *names, "x best peer", "x NEST 2"]),
        "Seconds to build, first time / median\n" + table(builds, ["network", *names]),
        "Our best run\n" + table(work, head),
        "Means over runs\n" + table(like, alike),
        "Time against events\n" + table(rows, ["events", "seconds", "off the line"]),
    ])  # fmt: skip


def misses(cases: list[dict[str, Any]]) -> Iterable[str]:
    """Name every statistic of our runs outside its band."""
    for c in cases:
        for name, s in c["contenders"].items():
            yield from (f"{c['network']}, {name}: {what}" for what in s["outside"] if name.startswith("spikeframe"))


def expected_synapses(network: dict[str, Any]) -> float:
    """Return the number of synapses that the rules make on average."""
    sizes = {p["name"]: p["size"] for p in network["populations"] + network["sources"]}
    total = 0.0
    for link in network["projections"]:
        rule, targets = link["rule"], sizes[link["target"]]
        each = rule.get("k", rule.get("p", 0.0) * sizes[link["source"]])
        total += rule.get("n", each * targets)
    return total


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small networks, one short run each, no judgement")
    parser.add_argument("--networks", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--scales", nargs="*", type=float, help="further scales of the microcircuit (default: 1.0)")
    parser.add_argument("--peers", nargs="*", choices=["nest", "brian2"], default=["nest", "brian2"])
    parser.add_argument("--peer-synapses", type=float, default=2e7, help="largest network that peers run")
    parser.add_argument("--nest-python", help="interpreter with NEST")
    parser.add_argument("--brian2-python", help="interpreter with Brian2")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3, help="of our runs; further scales run once")
    parser.add_argument("--peer-rounds", type=int, default=2, help="of the others'")
    parser.add_argument("--out", help="folder for simulation.json and simulation.png (default: results; quick: none)")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    turns = {"spikeframe": rounds, **dict.fromkeys(("nest", "brian2"), 1 if options.quick else options.peer_rounds)}
    once = dict.fromkeys(turns, 1)
    given = {"nest": options.nest_python, "brian2": options.brian2_python}
    ours = [Contender("spikeframe", sys.executable, n, "float32") for n in options.threads]
    double = Contender("spikeframe", sys.executable, max(options.threads))
    others = [Contender(p, python_of(p, given[p]), n) for p in options.peers for n in options.threads]
    cases = [c for c in (QUICK if options.quick else FULL) if c.network in options.networks]
    scales = options.scales if options.scales is not None else [] if options.quick else [1.0]
    cases += [Case("microcircuit", scale, 200.0, 1_000.0, 500.0) for scale in scales]
    load = os.getloadavg()
    print(f"load before: {load[0]:.1f} {load[1]:.1f} {load[2]:.1f} on {os.cpu_count()} cores", file=sys.stderr)
    out = options.out or (None if options.quick else HERE / "results")
    growth = linearity(options.quick, rounds, max(options.threads), DT)
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            network = plain(NETWORKS[case.network](scale=case.scale))
            few = expected_synapses(network) <= options.peer_synapses
            extra = case not in FULL and case not in QUICK
            mine = ours if extra else [*ours, double]
            found.append(compare(case, [*mine, *(others if few else [])], once if extra else turns, Path(folder)))
            if out is not None:  # what is measured is not lost when a later network fails
                write_json(str(Path(out) / "simulation.json"), {"load": load, "simulation": found, "linearity": growth})
    print(tables(found, growth))
    if out is not None:
        figure(found, growth).savefig(Path(out) / "simulation.png", dpi=120)
    wrong = list(misses(found))
    if not options.quick:
        print("\n".join(["outside the references' bands:", *wrong] if wrong else ["all statistics within their bands"]))
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()

"""One PyNN script, two backends: the Vogels-Abbott networks on spikeframe and on NEST, compared spike by spike.

    python benchmarks/pynn_statistics.py --nest /path/to/nest/bin/python --json benchmarks/results/pynn_statistics.json

PyNN draws the network, the weights and the initial membranes, so both backends simulate the same one. CUBA has no other
randomness, nor has COBA, whose drive of 50 ms is drawn here and given to both: how long all spikes agree is a figure.
In a third network COBA is driven by each backend's own Poisson sources all the time. Rates, irregularity, synchrony and
correlation are compared over seeds: the difference of the means beside its standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
BACKENDS = {"spikeframe": "spikeframe.adapters.pynn", "nest": "pyNN.nest"}
MODELS = ("CUBA", "COBA", "COBA, own noise")


def network(sim, model: str, seed: int, n: int, duration: float) -> dict[str, np.ndarray]:
    """Build and run CUBA or COBA as PyNN's VAbenchmarks does."""
    from pyNN.random import NumpyRNG, RandomDistribution

    sim.setup(timestep=0.1, min_delay=0.2, max_delay=1.0, rng_seed=seed, spike_precision="on_grid")
    rng = NumpyRNG(seed=seed, parallel_safe=True)
    common = {"tau_m": 20.0, "tau_syn_E": 5.0, "tau_syn_I": 10.0, "v_reset": -60.0, "v_thresh": -50.0, "cm": 0.2}
    common["tau_refrac"] = 5.0
    if model != "CUBA":
        cell, weights = sim.IF_cond_exp(v_rest=-60.0, e_rev_E=0.0, e_rev_I=-80.0, **common), (0.004, 0.051)
    else:
        cell, weights = sim.IF_curr_exp(v_rest=-49.0, **common), (0.0162, -0.09)
    exc, inh = sim.Population(n * 4 // 5, cell, label="E"), sim.Population(n // 5, cell, label="I")
    for p in (exc, inh):
        p.initialize(v=RandomDistribution("uniform", low=-60.0, high=-50.0, rng=rng))
        p.record("spikes")
    connector = sim.FixedProbabilityConnector(0.02 * 4000 / n, rng=rng)
    for source, weight, kind in ((exc, weights[0], "excitatory"), (inh, weights[1], "inhibitory")):
        for target in (exc, inh):
            synapse = sim.StaticSynapse(weight=weight, delay=0.2)
            sim.Projection(source, target, connector, synapse, receptor_type=kind)
    if model != "CUBA":
        source = sim.SpikeSourcePoisson(rate=100.0)
        if model == "COBA":  # at most a spike a millisecond and source, from 1 ms on
            drawn = np.random.default_rng(seed).random((20, 50)) < 0.1
            source = sim.SpikeSourceArray(spike_times=[(np.flatnonzero(row) + 1.0).tolist() for row in drawn])
        drive = sim.Population(20, source)
        for target in (exc, inh):
            sim.Projection(
                drive, target, sim.FixedProbabilityConnector(0.01 * 4000 / n, rng=rng),
                sim.StaticSynapse(weight=0.1, delay=0.2), receptor_type="excitatory",
            )  # fmt: skip
    begin = time.perf_counter()
    sim.run(duration)
    found = {"seconds": np.array(time.perf_counter() - begin)}
    for name, p in (("E", exc), ("I", inh)):
        trains = p.get_data("spikes").segments[0].spiketrains
        found[f"{name}_times"] = np.concatenate([np.zeros(0), *(np.asarray(t.magnitude) for t in trains)])
        found[f"{name}_ids"] = np.repeat(np.arange(p.size), [len(t) for t in trains])
    sim.end()
    return found


def run(options: argparse.Namespace) -> None:
    import importlib

    sim = importlib.import_module(BACKENDS[options.backend])
    np.savez(options.out, **network(sim, options.model, options.seed, options.neurons, options.ms))


def agreement(a: dict, b: dict, duration: float) -> tuple[float, int, int]:
    """Return until when two runs have the same spikes (ms), how many differ, and how many there are."""
    listed = []
    for run_of in (a, b):
        rows = [
            (np.rint(run_of[f"{p}_times"] * 10).astype(int), run_of[f"{p}_ids"] + k * 10**6) for k, p in enumerate("EI")
        ]
        listed.append({*zip(*(np.concatenate(part).tolist() for part in zip(*rows, strict=True)), strict=True)})
    differing = listed[0] ^ listed[1]
    until = min((step for step, _ in differing), default=round(duration * 10)) / 10
    return until, len(differing), sum(map(len, listed))


def measures(found: dict, n: int, duration: float) -> dict[str, float]:
    """Rates (spikes/s), irregularity, synchrony and mean correlation of pairs (20 ms bins) after the first 100 ms."""
    from spikeframe.analysis import mean_cv

    answer = {}
    for name, size in (("E", n * 4 // 5), ("I", n // 5)):
        late = found[f"{name}_times"] > 100.0
        times, ids = found[f"{name}_times"][late], found[f"{name}_ids"][late]
        answer[f"{name} rate"] = times.size / (size * (duration - 100.0) * 1e-3)
        answer[f"{name} CV"] = mean_cv(times, ids, 5)
        bins = np.histogram(times, np.arange(100.0, duration + 0.5, 5.0))[0]
        answer[f"{name} Fano 5 ms"] = float(bins.var() / max(bins.mean(), 1e-12))
        edges = np.arange(100.0, duration + 0.5, 20.0)
        counts = np.stack([np.histogram(times[ids == i], edges)[0] for i in range(200)]).astype(float)
        counts = counts[counts.std(axis=1) > 0]
        pairs = np.corrcoef(counts)[np.triu_indices(len(counts), 1)] if len(counts) > 1 else np.array([np.nan])
        answer[f"{name} correlation"] = float(pairs.mean())
    return answer


def compare(options: argparse.Namespace) -> dict:
    result = {"neurons": options.neurons, "ms": options.ms, "models": {}}
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models or MODELS:
            runs: dict[str, list[dict]] = {name: [] for name in BACKENDS}
            for seed in range(1, options.seeds + 1):
                for name, python in (("spikeframe", sys.executable), ("nest", options.nest)):
                    out = Path(folder) / f"{model}-{name}-{seed}.npz"
                    packages = next(p for p in sys.path if p.endswith("site-packages"))
                    code = f"import sys; sys.path += [{packages!r}]; sys.argv = sys.argv[1:]; import runpy; " \
                           "runpy.run_path(sys.argv[0], run_name='__main__')"  # fmt: skip
                    words = ["--backend", name, "--model", model, "--seed", str(seed), "--out", str(out)]
                    words += ["--neurons", str(options.neurons), "--ms", str(options.ms)]
                    path = str(ROOT) if name == "spikeframe" else ""
                    subprocess.run(
                        [python, "-c", code, __file__, *words], check=True, capture_output=True, cwd=folder,
                        env={**os.environ, "PYTHONPATH": path},
                    )  # fmt: skip
                    with np.load(out) as file:
                        runs[name].append({key: file[key] for key in file.files})
            pairs = zip(runs["spikeframe"], runs["nest"], strict=True)
            until, differ, spikes = map(list, zip(*(agreement(a, b, options.ms) for a, b in pairs), strict=True))
            row = {"same spikes until (ms)": until, "spikes that only one has": differ, "spikes of both": spikes}
            tables = {name: [measures(r, options.neurons, options.ms) for r in rs] for name, rs in runs.items()}
            for key in tables["nest"][0]:
                ours, theirs = (np.array([t[key] for t in tables[name]]) for name in ("spikeframe", "nest"))
                error = np.sqrt(ours.var(ddof=1) / ours.size + theirs.var(ddof=1) / theirs.size)
                row[key] = {
                    "spikeframe": float(ours.mean()), "nest": float(theirs.mean()),
                    "difference in standard errors": float((ours.mean() - theirs.mean()) / max(error, 1e-12)),
                }  # fmt: skip
                apart = row[key]["difference in standard errors"]
                print(f"{model} {key:14s} {ours.mean():8.3f}, nest {theirs.mean():8.3f}: {apart:+.2f} standard errors")
            print(f"{model} same spikes until {until} ms, {differ} of {spikes} differ", flush=True)
            result["models"][model] = row
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nest", help="python with NEST")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--neurons", type=int, default=4000)
    parser.add_argument("--ms", type=float, default=600.0)
    parser.add_argument("--models", nargs="*", choices=MODELS, help="only these")
    for name in ("--backend", "--model", "--out"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.backend:
        run(options)
        return
    result = compare(options)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

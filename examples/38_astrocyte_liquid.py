"""A liquid of spiking neurons that an astrocyte keeps near the edge of chaos: Ivanov and Michmizos (2021), NALSM.

1,000 neurons in a box of 10 x 10 x 10, synapses that get rarer with distance, digits from an event camera as input.
Compared are the plain liquid, pair STDP, and STDP whose depression an astrocyte sets, each read out by logistic
regression on its spike counts; and what happens to accuracy where the weights of the plain liquid are made smaller.
The branching factor says how many spikes one spike causes; 1 is the edge of chaos.

Arrivals are exponential currents of 1 ms (the published code replaces an earlier arrival of a synapse, here they add),
with the published charge per spike. Learning starts with short pieces of training digits, then goes on, fading, within
every digit, always from the same weights.
Run: python examples/38_astrocyte_liquid.py [--quick] [--data FOLDER] [--samples N] [--seeds N] [--out FILE].
With --data, the digits are N-MNIST's in FOLDER; else handwritten digits through this package's event camera.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import spikeframe as sf
from spikeframe.analysis import branching_factor
from spikeframe.learning_rules import Astrocyte, AstroSTDP

SIDE, EXCITING = 10, 800
NEURONS = SIDE**3
#: Largest weight; charge of an arrival over that of the same weight in a current of 1 ms: 1 + e^-1 + e^-2 + ...
W_MAX, CHARGE = 3.0, 1.0 / (1.0 - np.exp(-1.0))
TAU_M, FADE = 64.0, -1.0 / np.log(0.99)
#: ms of a digit, of a piece in the first learning, and between looks of the astrocyte.
SAMPLE, PIECE, LOOK = 250, 100, 25
#: Pieces of training digits to learn with first, and digits whose branching is measured.
PIECES, MEASURED = 100, 20


@dataclass(frozen=True)
class Liquid:
    """One kind of liquid.

    Attributes:
        name: for the table.
        astrocyte: what sets the depression; None: it is constant.
        plastic: whether synapses learn.
        weight: what all begin with.
    """

    name: str
    astrocyte: Astrocyte | None = None
    plastic: bool = True
    weight: float = W_MAX


def digits(data: str | None, count: int, tests: int) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray, int]:
    """Return spikes (step, input) of training then test digits, their labels, and the number of inputs."""
    found, labels = [], []
    for split, many in (("train", count), ("test", tests)):
        if data:
            every: Any = sf.datasets.NMNIST(data, split)
            if split == "train":  # the published training part as a whole; there is nothing to validate
                rest: Any = sf.datasets.NMNIST(data, "validation")
                every = [*every, *rest]
        else:
            every = sf.datasets.Digits(split)
        size = (34, 34, 2) if data else every.sensor_size
        for k in range(min(many, len(every))):
            events, label = every[k]
            step = (events["t"] - events["t"].min(initial=events["t"][0])) // 1000
            unit = (events["p"].astype(np.int64) * size[1] + events["y"]) * size[0] + events["x"]
            inside = step < SAMPLE
            pairs = np.unique(step[inside].astype(np.int64) * (1 << 20) + unit[inside])
            found.append((pairs >> 20, pairs & ((1 << 20) - 1)))
            labels.append(int(label))
    return found, np.array(labels), int(np.prod(size))


def built(kind: Liquid, given: tuple[np.ndarray, np.ndarray], inputs: int, seed: int) -> tuple[Any, list[Any]]:
    """Return the simulator of a liquid and its projections; given: step and input of all spikes of the whole run."""
    network = sf.Network(seed=seed)
    source = network.population("input", inputs, sf.SpikeSource(given[0] + 1.0, given[1]))
    places = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    places = np.random.default_rng(seed).permutation(places)
    neuron = sf.neurons.LIF(tau_m=TAU_M, r_m=TAU_M * CHARGE, v_th=20.0, t_ref=2.0, reset="value",
                            receptors=sf.neurons.Exp(tau=1.0))  # fmt: skip
    e = network.population("e", EXCITING, neuron, positions=places[:EXCITING])
    i = network.population("i", NEURONS - EXCITING, neuron, positions=places[EXCITING:])

    def rule(sign: float) -> AstroSTDP | None:
        return AstroSTDP(w_max=sign * W_MAX, tau_fade=FADE) if kind.plastic else None

    links = []
    for a, b, p, sign in ((e, e, 0.2, 1), (e, i, 0.1, 1), (i, e, 0.3, -1), (i, i, 0.05, -1)):
        near = sf.DistanceDependent("gaussian", p=p, scale=3.0 / np.sqrt(2.0), autapses=False)
        links += network.connect(a, b, near, weight=sign * kind.weight, delay=1.0, synapse=rule(sign))
    for sign in (1, -1):
        links += network.connect(
            source, [e, i], sf.FixedProbability(0.075), weight=sign * W_MAX, delay=1.0, synapse=rule(sign)
        )
    network.record([e, i], "spikes")
    return sf.Simulator(network, dt=1.0, threads=1), links


def run_one(
    kind: Liquid, sim: Any, links: list[Any], weights: Any, inputs: np.ndarray, duration: int
) -> tuple[np.ndarray, np.ndarray]:
    """Run one digit from its beginning; return steps and neurons of the liquid's spikes.

    Args:
        kind: of the liquid.
        sim: its simulator.
        links: plastic projections.
        weights: what they begin with, or None for those they have at first.
        inputs: ``[duration]`` spikes of the input per step.
        duration: ms.
    """
    first = round(sim.circuit.time)
    sim.restart(weights)
    state = 0.15 if kind.astrocyte is None else kind.astrocyte.base
    steps, ids = [], []
    look = LOOK if kind.plastic and kind.astrocyte else duration
    for at in range(0, duration, look):
        if kind.plastic:
            for link in links:
                sim.signal(link, state)
        spikes = sim.run(float(look), progress=False).spikes
        steps += [spikes["e"].steps, spikes["i"].steps]
        ids += [spikes["e"].ids, spikes["i"].ids + EXCITING]
        if kind.astrocyte is not None:
            fired = len(spikes["e"]) + len(spikes["i"])
            state = kind.astrocyte.after(state, fired, int(inputs[at : at + look].sum()), float(look))
    return np.concatenate(steps) - first, np.concatenate(ids)


def experiment(kind: Liquid, data: Any, count: int, pieces: int, seed: int) -> dict[str, Any]:
    """Let a liquid learn, run all digits through it, and read it out.

    Args:
        kind: of the liquid.
        data: as `digits` returns it.
        count: training digits.
        pieces: short pieces of training digits to learn with first.
        seed: of the liquid.
    """
    samples, labels, inputs = data
    draw = np.random.default_rng(seed)
    order = draw.integers(0, count, pieces if kind.plastic else 0)
    parts = [(samples[k], int(draw.integers(0, SAMPLE - PIECE)), PIECE) for k in order]
    parts += [(one, 0, SAMPLE) for one in samples]
    steps, ids, per_step, at = [], [], [], 0
    for (when, who), first, length in parts:
        inside = (when >= first) & (when < first + length)
        steps.append(when[inside] - first + at)
        ids.append(who[inside])
        per_step.append(np.bincount(when[inside] - first, minlength=length))
        at += length
    sim, links = built(kind, (np.concatenate(steps).astype(float), np.concatenate(ids)), inputs, seed)
    weights: Any = None
    counts, factors = np.zeros((len(samples), NEURONS)), []
    where = [(sim.weights(link), link) for link in links[:4]]
    offset = {"e": 0, "i": EXCITING}
    source = np.concatenate([w.source + offset[link.source.name] for w, link in where])
    target = np.concatenate([w.target + offset[link.target.name] for w, link in where])
    for n, (_, _, length) in enumerate(parts):
        steps_, who = run_one(kind, sim, links, weights, per_step[n], length)
        if n < len(order):
            weights = {link: sim.weights(link).weight for link in links}
            continue
        k = n - len(order)
        counts[k] = np.bincount(who, minlength=NEURONS)
        if k >= len(samples) - MEASURED:
            factors.append(branching_factor(steps_, who, source, target, NEURONS, SAMPLE))
    train, test = readout(counts, labels, count)
    return {
        "kind": kind.name, "seed": seed, "branching": float(np.nanmean(factors)), "rate": counts.mean() / SAMPLE * 1e3,
        "validated": train, "test": test,
    }  # fmt: skip


def readout(counts: np.ndarray, labels: np.ndarray, count: int) -> tuple[float, float]:
    """Return the accuracy of a linear readout within five parts of the training digits, and on the test digits."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    share = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    folds = KFold(5, shuffle=True, random_state=0)
    train = cross_val_score(model, share[:count], labels[:count], cv=folds).mean()
    return float(train), float(model.fit(share[:count], labels[:count]).score(share[count:], labels[count:]))


def kinds(quick: bool) -> list[Liquid]:
    """Return the liquids that are compared."""
    astro = [Liquid(f"astrocyte, weight {w:g}", Astrocyte(weight=w)) for w in (0.015, 0.1)]
    plain = [Liquid(f"plain, |w| = {w:g}", plastic=False, weight=w) for w in (3.0, 0.7)]
    stdp = Liquid("STDP, constant depression")
    return [plain[0], astro[0]] if quick else [*plain, stdp, *astro]


def main(
    quick: bool = False, data: str | None = None, samples: int = 100, seeds: int = 1,
    out: str = "astrocyte_liquid.png",
) -> Path:  # fmt: skip
    """Run all liquids, print the table, and return the path of the picture."""
    count = 20 if quick else samples
    given = digits(data, count, 5 if quick else 100)
    count = min(count, len(given[0]))
    rows = []
    for seed in range(1, 2 if quick else seeds + 1):
        for kind in kinds(quick):
            rows.append(experiment(kind, given, count, 5 if quick else PIECES, seed))
            print(json.dumps(rows[-1]), flush=True)
    figure = Figure(figsize=(8.5, 4.5), layout="constrained", facecolor="white")
    ax = figure.add_subplot()
    print(f"{'liquid':28} branching factor   accuracy (5 folds)   accuracy (test)   spikes/s")
    for kind, marker in zip(kinds(quick), "osD^v", strict=False):
        own = [r for r in rows if r["kind"] == kind.name]
        mean = {key: np.mean([r[key] for r in own]) for key in ("branching", "validated", "test", "rate")}
        sd = {key: np.std([r[key] for r in own]) for key in ("branching", "validated", "test")}
        print(f"{kind.name:28} {mean['branching']:8.3f} ± {sd['branching']:.3f}    {mean['validated']:8.1%} ± "
              f"{sd['validated']:.1%}    {mean['test']:8.1%} ± {sd['test']:.1%}    {mean['rate']:8.1f}")  # fmt: skip
        colour = "#d55e00" if kind.astrocyte else "#0072b2" if kind.plastic else "#24292f"
        ax.errorbar(mean["branching"], 100 * mean["validated"], 100 * sd["validated"], sd["branching"],
                    marker, color=colour, capsize=3, alpha=0.8, label=kind.name)  # fmt: skip
    ax.axvline(1.0, color="#999999", linewidth=0.8, linestyle="--")
    ax.set(xlabel="branching factor (1: edge of chaos)", ylabel="accuracy (%)",
           title=f"{'N-MNIST' if data else 'digits'}, {count} to learn from")  # fmt: skip
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--data", help="folder of N-MNIST")
    parser.add_argument("--samples", type=int, default=100, help="training digits (default: 100)")
    parser.add_argument("--seeds", type=int, default=1, help="liquids of each kind (default: 1)")
    parser.add_argument("--out", default="astrocyte_liquid.png", help="the picture (default: astrocyte_liquid.png)")
    options = parser.parse_args()
    main(options.quick, options.data, options.samples, options.seeds, options.out)

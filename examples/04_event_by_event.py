"""One digit on its way through a trained network, step by step: when does the network know?

Run: python examples/04_event_by_event.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import spikeframe as sf
from spikeframe import datasets, plots
from spikeframe.training import FrameCache, build, fit


def main(quick: bool = False, out: str = "event_by_event.png") -> Path:
    """Train a small network, run one test recording step by step, and return the path of the picture."""
    samples, epochs = (60, 1) if quick else (None, 6)
    frames = {
        split: FrameCache(datasets.load("digits", split=split), n_time_bins=31, dt=10.0, samples=samples)
        for split in ("train", "validation", "test")
    }
    train = frames["train"]
    model = build("mlp", train.shape[1:], 10, dt=train.dt, hidden=64, density=train.density)
    fit(model, train, frames["validation"], epochs=epochs, lr=2e-3, progress=not quick)
    network = sf.Network.from_module(model, train.shape[1:], max(data.largest for data in frames.values()))
    simulator = sf.Simulator(network)

    x, label = frames["test"].batch([0])
    state, steps, neurons, outputs = None, [], [], []
    total = np.zeros(10)
    for step in range(len(x)):
        # A run takes up the state that the one before it left: the recording could come from a live camera.
        result = simulator.run(x[step : step + 1], state)
        state = result.state
        spikes = result.spikes["hidden"].ids
        steps += [step] * len(spikes)
        neurons += spikes.tolist()
        outputs.append(result.outputs[0, 0])
        total += outputs[-1]
        events = int(x[step].sum())
        now = f"{(step + 1) * train.dt:5.0f} ms {events:4} events {len(spikes):3} spikes"
        print(f"{now}, leading class {total.argmax()}")
    print(f"true class {int(label)}")

    whole = simulator.run(x)
    assert np.array_equal(whole.outputs[:, 0], np.stack(outputs)), "in pieces or at once, the run is the same"

    figure = Figure(figsize=(8, 7), layout="constrained", facecolor="white")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[1, 2, 2])
    plots.event_frames(x[:, 0].numpy().astype(int), panels=6, dt_ms=train.dt, axes=list(top.subplots(1, 6)))
    plots.spike_raster(np.stack([steps, neurons], axis=1), middle.subplots(), dt_ms=train.dt)
    shown = sorted({int(label), int(total.argmax())})
    plots.membrane_traces(np.stack(outputs), bottom.subplots(), dt_ms=train.dt, highlight=shown)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="event_by_event.png", help="the picture (default: event_by_event.png)")
    options = parser.parse_args()
    main(options.quick, options.out)

"""Spike steps equal to NEST's on deterministic networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import spikeframe as sf

DATA = Path(__file__).parent / "data"


@pytest.mark.exact
@pytest.mark.parametrize("threads", [1, 2])
def test_every_spike_of_a_delta_network_falls_on_nests_step(threads):
    """100 neurons, 1,000 synapses with their own weights and delays, constant currents, 500 ms: 1,984 spikes."""
    given = json.loads((DATA / "nest_iaf_psc_delta.json").read_text())
    p = given["params"]
    lif = sf.neurons.LIF(
        tau_m=p["tau_m"], r_m=p["tau_m"] / p["C_m"], v_rest=p["E_L"], v_th=p["V_th"], v_reset=p["V_reset"],
        t_ref=p["t_ref"], i_e=given["i_e_pA"], receptors={"in": sf.neurons.Delta()},
    )  # fmt: skip
    net = sf.Network()
    neurons = net.population("n", 100, lif, v=given["v_0_mV"])
    delay = np.array(given["delay_steps"]) * 0.1
    rule = sf.Pairs(given["source"], given["target"])
    net.connect(neurons, neurons, rule, receptor="in", weight=given["weight_mV"], delay=delay)
    net.record(neurons, "spikes")
    spikes = sf.Simulator(net, dt=0.1, threads=threads, dtype="float64").run(500.0).spikes["n"]
    ours = sorted(zip((spikes.steps + 1).tolist(), spikes.ids.tolist(), strict=True))
    assert ours == sorted(zip(given["spike_step"], given["spike_neuron"], strict=True))

"""Writes nest_networks.json: the spikes of one small recurrent network, for several of NEST's models.

40 neurons, 32 exciting and 8 inhibiting, 400 synapses with their own weights and delays (0.1 to 3 ms), a constant
current for each neuron: nothing is random in the run. Run in an environment that holds nest-simulator:
python make_nest_networks.py
"""

from __future__ import annotations

import json
from pathlib import Path

import nest
import numpy as np

EXC, INH, FAN, DURATION, DT = 32, 8, 10, 300.0, 0.1
SYNAPSE = {"tau_syn_ex": 2.0, "tau_syn_in": 5.0}
LIF = {"C_m": 250.0, "tau_m": 10.0, "E_L": -70.0, "V_th": -55.0, "V_reset": -65.0, "t_ref": 2.0}
COND = {"C_m": 250.0, "g_L": 16.6667, "E_L": -70.0, "V_th": -55.0, "V_reset": -60.0, "t_ref": 2.0,
        "E_ex": 0.0, "E_in": -85.0, **SYNAPSE}  # fmt: skip
AEIF = {"C_m": 281.0, "g_L": 30.0, "E_L": -70.6, "V_th": -50.4, "Delta_T": 2.0, "V_peak": 0.0, "V_reset": -60.0,
        "t_ref": 0.0, "a": 4.0, "b": 80.5, "tau_w": 144.0, "E_ex": 0.0, "E_in": -85.0, **SYNAPSE,
        "gsl_error_tol": 1e-10}  # fmt: skip
SFA = {"tau_sfa": 60.0, "E_sfa": -80.0, "q_sfa": 6.0, "tau_rr": 3.0, "E_rr": -75.0, "q_rr": 60.0}
GIF = {"C_m": 250.0, "g_L": 16.6667, "E_L": -70.0, "V_reset": -60.0, "t_ref": 2.0, "E_ex": 0.0, "E_in": -85.0,
       "Delta_V": 1e-6, "V_T_star": -55.0, "lambda_0": 1.0, "tau_stc": [3.0, 40.0], "q_stc": [60.0, 10.0],
       "tau_sfa": [5.0, 30.0, 90.0], "q_sfa": [3.0, 1.0, 0.5], **SYNAPSE}  # fmt: skip
#: Model: parameters, mean weights (exciting, inhibiting), range of the currents, range of the initial membrane.
MODELS = {
    "iaf_psc_delta": (LIF, (0.6, -2.4), (330.0, 420.0), (-70.0, -56.0)),
    "iaf_psc_exp": (LIF | SYNAPSE, (80.0, -160.0), (330.0, 420.0), (-70.0, -56.0)),
    "iaf_psc_alpha": (LIF | SYNAPSE, (30.0, -60.0), (330.0, 420.0), (-70.0, -56.0)),
    # The current as slow as the membrane: the degenerate case of the propagators.
    "iaf_psc_exp, tau_syn = tau_m": (LIF | {"tau_syn_ex": 10.0, "tau_syn_in": 10.0}, (20.0, -80.0), (330.0, 420.0),
                                     (-70.0, -56.0)),
    "iaf_psc_alpha, tau_syn = tau_m": (LIF | {"tau_syn_ex": 10.0, "tau_syn_in": 10.0}, (8.0, -30.0), (330.0, 420.0),
                                       (-70.0, -56.0)),
    "iaf_cond_exp": (COND, (2.0, -8.0), (220.0, 320.0), (-70.0, -56.0)),
    "iaf_cond_alpha": (COND, (1.0, -4.0), (220.0, 320.0), (-70.0, -56.0)),
    "izhikevich": ({"a": 0.02, "b": 0.2, "c": -65.0, "d": 8.0, "consistent_integration": True}, (1.0, -3.0),
                   (5.0, 9.0), (-70.0, -60.0)),
    "aeif_cond_exp": (AEIF, (2.0, -8.0), (550.0, 750.0), (-70.0, -56.0)),
    "iaf_cond_exp_sfa_rr": (COND | SFA, (3.0, -8.0), (260.0, 380.0), (-70.0, -56.0)),
    # A threshold of no width: the chance is whether it is passed.
    "gif_cond_exp": (GIF, (3.0, -8.0), (280.0, 400.0), (-70.0, -56.0)),
}  # fmt: skip


def simulate(name: str, params: dict, weight: np.ndarray, current: np.ndarray, v: np.ndarray, wires: dict) -> list:
    """Return the spikes as [step, neuron], in order."""
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.resolution = DT
    neurons = nest.Create(name.split(",")[0], EXC + INH, params=params)
    neurons.set(I_e=current.tolist(), V_m=v.tolist())
    if name == "izhikevich":
        neurons.set(U_m=(params["b"] * v).tolist())
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    ids = np.asarray(neurons.tolist())
    synapses = {"weight": weight, "delay": np.asarray(wires["delay_steps"]) * DT}
    nest.Connect(ids[wires["source"]], ids[wires["target"]], "one_to_one", synapses)
    nest.Simulate(DURATION)
    steps = np.rint(np.asarray(recorder.events["times"]) / DT).astype(int)
    return sorted([int(s), int(i) - int(ids[0])] for s, i in zip(steps, recorder.events["senders"], strict=True))


def main() -> None:
    """Draw the network, run every model, write the file."""
    rng = np.random.default_rng(7)
    size = EXC + INH
    target = np.repeat(np.arange(size), FAN)
    source = np.concatenate([np.r_[rng.choice(EXC, 8, False), EXC + rng.choice(INH, 2, False)] for _ in range(size)])
    relative = rng.uniform(0.5, 1.5, target.size).round(3)
    wires = {"source": source.tolist(), "target": target.tolist(), "relative_weight": relative.tolist(),
             "delay_steps": rng.integers(1, 31, target.size).tolist()}  # fmt: skip
    models = {}
    for name, (params, (exc, inh), currents, membrane) in MODELS.items():
        current, v = rng.uniform(*currents, size).round(3), rng.uniform(*membrane, size).round(3)
        weight = np.where(source < EXC, exc, inh) * relative
        spikes = simulate(name, params, weight, current, v, wires)
        models[name] = {"params": params, "weight": [exc, inh], "i_e": current.tolist(), "v_0": v.tolist(),
                        "spikes": spikes}  # fmt: skip
        print(name, len(spikes), "spikes")
    made = f"NEST {nest.__version__}, resolution {DT} ms, {DURATION:g} ms; spikes as [step, neuron]"
    found = {"made_with": made, "exciting": EXC, "inhibiting": INH, "duration": DURATION, "network": wires,
             "models": models}  # fmt: skip
    path = Path(__file__).parent / "nest_networks.json"
    path.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

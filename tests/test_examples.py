"""Every example runs, quickly, and ends in what it promises."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[1] / "examples"
PROMISED = {
    "01_own_torch_loop.py": "test accuracy",
    "02_lightning.py": "ightning",
    "03_own_neuron.py": "0 spikes and readout values differ",
    "04_event_by_event.py": "picture: ",
    "05_balanced_network.py": "picture: ",
    "06_microcircuit.py": "picture: ",
    "07_synfire_chain.py": "picture: ",
    "08_brunel.py": "picture: ",
    "09_plasticity.py": "picture: ",
    "10_firing_patterns.py": "picture: ",
    "11_larva_brain.py": "larval connectome",
    "12_elm.py": "picture: ",
    "13_active_dendrites.py": "picture: ",
    "14_motion_delays.py": "picture: ",
    "15_ultralif.py": "picture: ",
    "16_conductances.py": "picture: ",
    "17_train_a_circuit.py": "picture: ",
    "18_models_compared.py": "picture: ",
    "19_delta_activations.py": "picture: ",
    "20_conditional_computation.py": "picture: ",
    "21_spike_coding.py": "picture: ",
    "22_sparse_coding.py": "picture: ",
    "23_shd_adding.py": "picture: ",
    "24_gradient_rules.py": "picture: ",
    "25_eprop_pattern.py": "picture: ",
    "26_eventprop_yin_yang.py": "picture: ",
    "28_stdp_family.py": "picture: ",
    "29_rewiring_a_circuit.py": "picture: ",
    "30_sparse_training.py": "picture: ",
    "32_hlop.py": "picture: ",
    "33_sparsey.py": "picture: ",
    "34_boolean_threshold.py": "picture: ",
    "35_competitive.py": "picture: ",
    "36_sparcl.py": "picture: ",
    "37_ftwt.py": "picture: ",
    "38_astrocyte_liquid.py": "picture: ",
    "39_hmm_rnn.py": "picture: ",
    "40_nested_rhythms.py": "picture: ",
    "41_mixture_of_experts.py": "picture: ",
    "42_early_exit.py": "picture: ",
    "43_two_kinds_of_experts.py": "picture: ",
    "44_token_and_chunk_sparsity.py": "picture: ",
    "54_structured_weights.py": "picture: ",
}

#: Examples that take longest even with ``--quick``.
LONG = (9, 10, 12, 15, 17, 20, 22, 24, 28, 38)
    "49_nm_sparsity.py": "picture: ",
    "50_dynamic_sparse_training.py": "picture: ",
    "51_one_shot_pruning.py": "picture: ",
    "52_tickets_and_soups.py": "picture: ",
    "53_sparse_activity.py": "picture: ",
}

#: Examples that take longest even with ``--quick``.
LONG = (6, 9, 10, 11, 14, 15, 17, 19, 20, 22, 23, 24, 25, 28, 29, 30, 32, 38, 40, 49, 50, 52, 53)


def test_every_example_is_tried():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(PROMISED)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.campaign) if int(n[:2]) in LONG else n for n in PROMISED]
)
def test_an_example_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, "--quick"])
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    except SystemExit as done:
        assert not done.code, done.code
    finally:
        torch.set_num_threads(threads)
    assert PROMISED[name] in capsys.readouterr().out
    if name.startswith("04"):
        assert (tmp_path / "event_by_event.png").read_bytes().startswith(b"\x89PNG")

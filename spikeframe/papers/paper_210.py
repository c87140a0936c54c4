"""What paper 210 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "SpikingBrain Technical Report: Spiking Brain-inspired Large Models"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        210, TITLE, "neurons.adaptive_threshold_if.AdaptiveThresholdIF",
        "modules/test_spike_coding.py::test_spikes_of_gaussian_activations_are_as_sparse_as_described", "",
        "1.13 spikes a value, 69.2 % of the places of a window silent (activations of the 7B model)",
        "Gaussian activations: 1.30 spikes a value, 74.0 % silent, 95.4 % of counts at most 7", "in part",
        "the model's activations are not at hand; the report has 94.1 % of counts at most 7",
    ),
    Claim(
        210, TITLE, "modules.spike_coding.encode",
        "modules/test_spike_coding.py::test_every_count_of_8_bits_comes_back", "21_spike_coding.py",
        "binary, ternary and bitwise spikes carry counts without loss", "every count of 8 bits, and random ones of 32",
        "reproduced",
    ),
    Claim(
        210, TITLE, "modules.spike_coding.encode",
        "modules/test_spike_coding.py::test_spikes_of_gaussian_activations_are_as_sparse_as_described",
        "21_spike_coding.py",
        "1.13 bitwise spikes a value; 94.1 % of counts at most 7; one to two points lost by spikes (7B model)",
        "a gated network of 128 units on digits, k = 3, 3 seeds: 1.11 spikes a value, 81.5 % of six steps silent, 88.6 "
        "% of counts at most 7; accuracy 98.1 +- 0.2 % by spikes, 98.3 +- 0.2 % in floats", "in part",
        "a small network in place of a language model",
    ),
    Claim(
        210, TITLE, "modules.attention.recipes.spikingbrain",
        "modules/test_attention_recipes.py::test_layers_alternate_between_a_state_and_a_window_of_constant_cost",
        "47_linear_mixing.py",
        "alternating gated linear and window attention: first token over 100 times faster at 4 M tokens",
        "operations a token at 64 and 2048 tokens: window of 32 99 and 114, gated linear 1,594 and 1,569, all pairs "
        "136 and 3,760", "in part", "cost per token stays constant; no language model was run",
    ),
)  # fmt: skip

"""What paper 209 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "The Expressive Leaky Memory Neuron: an Efficient and Expressive Phenomenological Neuron Model ..."

CLAIMS: tuple[Claim, ...] = (
    Claim(
        209, TITLE, "modules.branch_elm.BranchELM", "modules/test_elm.py::test_parameters_are_as_many_as_published",
        "12_elm.py", "4,601 to 54,002 parameters for 1 to 100 memory units", "the same fourteen numbers", "reproduced",
    ),
    Claim(
        209, TITLE, "modules.elm.ELM", "modules/test_elm.py::test_a_cue_is_kept_by_slow_memories_and_lost_by_fast_ones",
        "12_elm.py",
        "a cortical cell's spikes: AUC 0.944 with 1 memory unit, 0.958 with 2, 0.976 with 5, 0.988 with 10",
        "a two-layer dendritic LIF's spikes, 3 seeds: AUC 0.794, 0.792 +- 0.023, 0.824, 0.835, 0.839 with 1, 2, 3, 5, "
        "10; its soma 62, 84, 89, 90, 90 % explained",
        "in part",
        "the ordering holds within the spread of seeds, the levels do not compare: another cell, 200 training steps",
    ),
    Claim(
        209, TITLE, "datasets.shd_adding.SHDAdding",
        "datasets/test_shd_adding.py::test_a_recording_is_two_words_and_its_label_their_sum", "23_shd_adding.py",
        "a single ELM neuron learns SHD-Adding, and the long-range arena",
        "sums of two spoken digits (six speakers, own cochlea model; 3,000 sums, 12 epochs, 3 seeds): ELM 49.5 +- 2.9 "
        "%, with memories of at most 50 ms 14.9 +- 5.1 %, a LIF network 16.2 +- 1.1 %; the most frequent sum 9.5 %",
        "in part",
        "other recordings, little training, accuracy still rising at its end; the long-range arena was not tried",
    ),
)  # fmt: skip

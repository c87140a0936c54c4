"""What paper 174 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Learning k-Level Structured Sparse Neural Networks Using Group Envelope Regularization"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        174, TITLE, "modules.sparsity.proximal.group_envelope",
        "modules/test_sparsity.py::test_the_group_envelopes_step_beats_every_other_point",
        "50_dynamic_sparse_training.py",
        "a convex envelope whose proximal step is cheap and leaves a chosen number of groups at little loss",
        "event digits, 2 x 64 LIF neurons, 8 epochs, 3 seeds: groups of one weight, 88.7 +- 0.1, 69.1 +- 1.0, 29.1 "
        "+- 4.5 % at 90, 95, 98 % missing, random masks by ERK 88.2, 78.8, 37.5 %; the step beats every other point "
        "tried and leaves exactly k groups",
        "in part",
        "the mathematics holds; with proximal steps beside Adam for 58 of 96 steps it is no better than random masks "
        "here",
    ),
)  # fmt: skip

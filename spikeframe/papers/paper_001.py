"""What paper 1 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Hecto: Modular Sparse Experts for Adaptive and Interpretable Reasoning"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        1, TITLE,
        "modules.moe.recipes.hecto.hecto",
        "modules/moe/test_hecto.py::test_hecto_needs_its_second_kind_of_expert",
        "43_two_kinds_of_experts.py",
        "AG News, 5,000 texts: accuracy 90.0 %, the GRU taken for 79.9 % of the samples; close to mixtures of one "
        "kind elsewhere",
        "made-up samples told by channels or by order, 3 seeds: one expert of each kind 99.9 and 94.6 % at 13,952 "
        "operations a sample, two GRUs 100 and 100 % at 30,256, two feed-forward ones 100 and 65.1 %; the GRU gets "
        "89 % of the samples that need it, 6 % of the others",
        "in part",
        "made-up spike trains in place of texts; the gate sees the first steps, the losses' weights are ours",
    ),
)  # fmt: skip

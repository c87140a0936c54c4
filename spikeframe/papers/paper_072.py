"""What paper 72 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "The Unreasonable Effectiveness of Random Pruning: Return of the Most Naive Baseline for Sparse Training"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        72, TITLE, "modules.sparsity.recipes.RandomPruning",
        "modules/test_sparsity.py::test_erk_is_the_published_case",
        "50_dynamic_sparse_training.py",
        "with sensible layer densities (ERK), random masks train close to dense; a random sparse Wide ResNet-50 "
        "beats the dense one on ImageNet",
        "event digits, 2 x 64 LIF neurons, 8 epochs, 3 seeds: dense 96.3, random masks by ERK 88.2 +- 1.1, 78.8 +- "
        "2.3, 37.5 +- 6.4 % at 90, 95, 98 % missing; uniform ones 82.5, 39.8, 19.3 %",
        "in part",
        "layer densities matter as published, but a network this narrow stays below the dense one; wide networks "
        "were not run",
    ),
)  # fmt: skip

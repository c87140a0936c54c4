"""What paper 179 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Dynamic Sparse Training via Balancing the Exploration-Exploitation Trade-off"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        179, TITLE, "modules.sparsity.recipes.DSTEE",
        "modules/test_sparsity_recipes.py::test_exploration_reaches_more_weights_than_gradients_alone",
        "50_dynamic_sparse_training.py",
        "a bonus for seldom active weights: up to 8.2 points more than earlier sparse training (ResNet-50, ImageNet)",
        "event digits, 2 x 64 LIF neurons, 8 epochs, 3 seeds: DST-EE 92.2 +- 1.4, 86.7 +- 2.1, 55.9 +- 5.0 % at 90, "
        "95, 98 % missing, RigL 91.6, 86.8, 55.8 %; places ever active at 98 % 4.7 and 4.6 %",
        "not reproduced",
        "no difference to RigL in 14 turns; a bonus 20 times larger reaches more places (the test), and accuracy was "
        "not tried with it",
    ),
)  # fmt: skip

"""What paper 20 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Sparse Iso-FLOP Transformations for Maximizing Training Efficiency"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        20, TITLE, "modules.sparsity.iso_flops.wide",
        "modules/test_sparsity_recipes.py::test_larger_sparse_layers_have_exactly_the_dense_number_of_weights",
        "52_tickets_and_soups.py",
        "3.5 points more at equal operations (ResNet-18, ImageNet)",
        "event digits, 64 LIF neurons, 4 epochs, 3 seeds, RigL masks, s = 0.75, exactly as many weights: dense 89.9 "
        "+- 1.2, wide 93.4 +- 0.4, parallel 93.5 +- 0.4, factorized 90.8 +- 0.3 %",
        "in part",
        "ResNet-18 on ImageNet was not run",
    ),
)  # fmt: skip

"""What paper 47 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        47, TITLE, "modules.sparsity.recipes.SRSTE",
        "modules/test_sparsity_recipes.py::test_the_gradient_passes_straight_through_and_the_pull_is_the_published_one",
        "49_nm_sparsity.py",
        "2:4 from scratch as good as dense (ResNet-50 77.0 to 77.3 %); the pull makes masks flip less",
        "event digits, 100 LIF neurons, input layer at 5:20, 2:20, 1:20, 8 epochs, 3 seeds (dense 95.5 +- 0.6 %): "
        "SR-STE 94.8, 92.9, 91.8 +- 0.5 %, straight-through without pull 94.6, 93.8, 91.2 %; mask flips a step 0.57 "
        "and 0.81 % of the weights. Both layers at 10:20, 5 seeds: 93.2 +- 1.0 % (dense 93.2)",
        "in part",
        "fewer flips, and 1:2 as good as dense, as published; the pull's gain in accuracy is within seeds; ResNet-50 "
        "was not run",
    ),
)  # fmt: skip

"""What paper 214 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Sparse Training via Boosting Pruning Plasticity with Neuroregeneration"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        214, TITLE, "modules.sparsity.recipes.GraNet",
        "modules/test_sparsity_recipes.py::test_masks_have_exactly_the_promised_pattern_at_every_step",
        "50_dynamic_sparse_training.py",
        "gradual pruning with as much regrowth beats static and dynamic sparse training (ResNet-50, ImageNet)",
        "event digits, 2 x 64 LIF neurons, 8 epochs, 3 seeds: GraNet 91.5 +- 1.4, 86.5 +- 1.5, 67.4 +- 1.3 % at 90, "
        "95, 98 % missing; random by ERK 88.2, 78.8, 37.5, RigL 91.6, 86.8, 55.8 %",
        "in part",
        "above static masks and beside RigL; ImageNet was not run",
    ),
)  # fmt: skip

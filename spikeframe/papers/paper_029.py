"""What paper 29 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Progressive Gradient Flow for Robust N:M Sparsity Training in Transformers"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        29, TITLE, "modules.sparsity.recipes.MaskDecay",
        "modules/test_sparsity_recipes.py::test_mask_decay_is_dense_at_one_and_the_pattern_at_zero",
        "49_nm_sparsity.py",
        "up to 2 points (vision) and 5 (language) more at high N:M sparsity than SR-STE",
        "event digits, 100 LIF neurons, input layer at 5:20, 2:20, 1:20, 8 epochs, 3 seeds (dense 95.5 +- 0.6 %): "
        "MDGF 95.2, 92.6, 91.0 +- 0.4 %, gradients masked 94.7, 92.7, 90.7, SDGF 95.1, 91.6, 91.2; straight-through "
        "94.6, 93.8, 91.2, SR-STE 94.8, 92.9, 91.8 +- 0.5 %",
        "not reproduced",
        "within seeds of straight-through in 96 steps; the gain is claimed for long trainings of transformers and "
        "ResNets, not run here",
    ),
)  # fmt: skip

"""What paper 142 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Sparse Model Soups: A Recipe for Improved Pruning via Model Averaging"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        142, TITLE, "modules.sparsity.averaging.prune_retrain",
        "modules/test_sparsity_recipes.py::test_cycles_of_pruning_keep_one_mask_and_lose_no_more_than_a_mean_member",
        "52_tickets_and_soups.py",
        "averages of retrained copies beat every member, in every cycle",
        "event digits, 64 LIF neurons, levels 60, 84, 94 % with 2 epochs each, 3 seeds: soups of three 83.4 +- 1.9, "
        "their mean member 83.9 +- 1.9, one copy 83.8 +- 1.5 %",
        "not reproduced",
        "members that retrain for 2 epochs hardly differ; what is tested is that an average keeps the mask and is no "
        "worse than a mean member",
    ),
)  # fmt: skip

"""What paper 165 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "SWAMP: Sparse Weight Averaging with Multiple Particles for Iterative Magnitude Pruning"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        165, TITLE, "modules.sparsity.averaging.prune_retrain",
        "modules/test_sparsity_recipes.py::test_a_soup_of_one_rewound_member_is_iterative_magnitude_pruning",
        "52_tickets_and_soups.py",
        "averaged particles reach an ensemble's accuracy and beat iterative magnitude pruning at all sparsities",
        "event digits, 64 LIF neurons, levels 60, 84, 94 % with 2 epochs each, 3 seeds: SWAMP 80.5 +- 0.6, pruning "
        "and retraining without rewinding 83.8 +- 1.5 %",
        "not reproduced",
        "rewinding to the first epoch costs more than averaging gains when a level has 2 epochs; long trainings were "
        "not run",
    ),
)  # fmt: skip

"""What paper 34 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Random Search as a Baseline for Sparse Neural Network Architecture Search"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        34, TITLE, "modules.sparsity.tickets.random_search",
        "modules/test_sparsity_recipes.py::test_random_search_keeps_exact_numbers_of_neurons_and_the_best_loss",
        "52_tickets_and_soups.py",
        "networks found by random search are no better than one random choice",
        "event digits, 64 LIF neurons, 4 epochs, 3 seeds, a quarter of the neurons: best of 50 choices 81.0 +- 2.0, "
        "one choice 78.2 +- 6.8, all neurons 89.9 +- 1.2 %",
        "reproduced",
    ),
)  # fmt: skip

"""What paper 57 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = (
    "A Theoretical Framework for Auxiliary-Loss-Free Load Balancing of Sparse Mixture-of-Experts in Large-Scale AI "
    "Models"
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        57, TITLE,
        "modules.moe.balance.LossFree",
        "modules/moe/test_loss_free.py::test_loss_free_bias_levels_the_load_and_moves_rows_the_right_way",
        "",
        "rows move only from experts whose bias fell to those whose bias rose; loads come within a band (theory)",
        "2,048 rows, 16 experts, top 2, skewed scores, u = 1e-3: largest load over the mean, less 1, falls from 2.9"
        " below 0.05 in 263 updates (0.012 after 600); no row of those looked at moved against the rule",
        "reproduced",
    ),
    Claim(
        57, TITLE,
        "modules.moe.balance.LossFree",
        "modules/moe/test_loss_free.py::test_loss_free_prices_are_those_of_the_assignment_problem",
        "",
        "the rule is a step of the dual of an assignment problem",
        "64 rows, 4 experts: the dual reaches the optimum of the linear programme within 0.1 %",
        "reproduced",
    ),
    Claim(
        57, TITLE,
        "modules.moe.recipes.loss_free.loss_free",
        "modules/moe/test_loss_free.py::test_loss_free_counts_rows_or_spikes",
        "41_mixture_of_experts.py",
        "balanced models of 1B parameters without an auxiliary loss",
        "3 seeds, accuracy at share of the dense layer's synaptic operations, routing included: event digits 91.1 "
        "+- 1.1 % at 38 % (dense 91.2 +- 1.2 %), speech-like events 64.3 +- 1.0 % at 39 % (dense 72.0 +- 1.4 %)",
        "in part",
        "eight blocks of eight neurons, two of which run",
    ),
)  # fmt: skip

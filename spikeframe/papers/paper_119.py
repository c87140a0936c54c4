"""What paper 119 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Why Random Pruning Is All We Need to Start Sparse"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        119, TITLE, "modules.sparsity.budgets.counts",
        "modules/test_sparsity.py::test_budgets_keep_exactly_the_wanted_total",
        "50_dynamic_sparse_training.py",
        "random masks hold sparse solutions if the network is wider by a logarithmic factor; layer densities matter "
        "at high sparsity",
        "event digits, 2 x 64 LIF neurons, 8 epochs, 3 seeds: ERK against uniform densities 88.2 to 82.5, 78.8 to "
        "39.8, 37.5 to 19.3 % at 90, 95, 98 % missing",
        "in part",
        "the layer densities only; the bound on width is a theorem, and no width was varied here",
    ),
)  # fmt: skip

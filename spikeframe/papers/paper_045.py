"""What paper 45 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Selective Sinkhorn Routing for Improved Sparse Mixture of Experts"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        45, TITLE,
        "modules.moe.recipes.selective_sinkhorn.selective_sinkhorn",
        "modules/moe/test_selective_sinkhorn.py::test_sinkhorn_plans_are_balanced",
        "",
        "a few steps by transport balance the load without an auxiliary loss, and training is faster and more "
        "accurate (curves)",
        "200 skewed rows, 8 experts: variation of the load of the top two 0.73 by scores, 0.44, 0.11 and 0.13 by "
        "the plan at xi = 0.05, 0.5 and 1; with p = 0.3 about a third of the steps are routed so",
        "in part",
        "balance of a plan's top two; no training at scale",
    ),
)  # fmt: skip

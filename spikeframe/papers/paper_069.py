"""What paper 69 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Mixture of Experts Made Intrinsically Interpretable"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        69, TITLE,
        "modules.moe.recipes.moe_x.moe_x",
        "modules/moe/test_moe_x.py::test_moe_x_predicts_how_active_experts_will_be",
        "",
        "experts that will be sparse are told from weight statistics (chess: coverage 0.428 against 0.424 of "
        "Switch; text: perplexity better than GPT-2)",
        "16 experts of 128 units whose means differ: predicted and true shares correlate by 0.94 (Gaussian input), "
        "0.99 and 0.96 (spikes at 10 and 2 %)",
        "in part",
        "the estimate only; interpretability of language models is out of reach here",
    ),
    Claim(
        69, TITLE,
        "modules.moe.recipes.moe_x.moe_x",
        "modules/moe/test_moe_x.py::test_moe_x_is_one_wide_sparse_network",
        "",
        "the mixture is one wide sparse MLP",
        "equal within 1e-6",
        "reproduced",
    ),
)  # fmt: skip

"""What paper 6 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Spark Transformer: Reactivating Sparsity in FFN and Attention"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        6, TITLE, "modules.activation.recipes.spark",
        "modules/test_activation.py::test_the_statistical_top_k_keeps_about_k_normal_values",
        "53_sparse_activity.py",
        "8 % of the units active and 2.5 times fewer operations at equal quality, without sorting",
        "event digits, 100 LIF neurons, 8 epochs: of a gated block on hidden currents about the wanted share of "
        "units passes (1024 normal values: 8, 82 and 256 within 3 %), at a relative error of 0.026 (70 % silent) "
        "where a calibrated threshold gives 0.004; on membranes of a network trained without it, 5 seeds, 101 spikes "
        "a recording 88.1 +- 2.1 %, 48 spikes 76.1 % (dense 313 spikes, 93.2 %)",
        "in part",
        "put in afterwards it costs more than a calibrated threshold; the paper trains with it from scratch, which "
        "was not tried",
    ),
    Claim(
        6, TITLE, "modules.attention.recipes.spark",
        "modules/test_attention_recipes.py::"
        "test_statistical_top_k_is_right_for_normal_scores_and_exact_top_k_for_any", "45_cue_recall.py",
        "statistical top-k keeps k of n keys without sorting; 256 attended tokens, 2.5 times fewer operations",
        "32 and 128 of 1024 asked: 32.2 and 127.0 kept of normal scores, 93.8 and 93.8 of Poisson counts; exact top-k "
        "keeps 32 and 128; event digits 75.7 +- 5.5 % against 87.8 +- 0.6 %", "in part",
        "spike overlaps are not normal; half the features select, half weigh, which costs accuracy at 16 features",
    ),
)  # fmt: skip

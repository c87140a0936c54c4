"""What paper 208 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Improving Routing in Sparse Mixture of Experts with Graph of Tokens"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        208, TITLE,
        "modules.moe.recipes.similarity.similarity_aware",
        "modules/moe/test_similarity.py::test_similarity_flips_decisions_less_and_rows_are_less_sure",
        "",
        "routing fluctuates less, its entropy is lower, accuracy and robustness are better (curves)",
        "decisions that flip between steps 0.26 without, 0.15, 0.12 and 0.11 at h = 1, 2 and 4; entropy 1.71 "
        "without, 1.76 to 1.80",
        "in part",
        "equations reconstructed, a causal window in place of the whole sequence; entropy rises, as it must for a "
        "mixture of probabilities",
    ),
    Claim(
        208, TITLE,
        "modules.moe.recipes.similarity.similarity_aware",
        "modules/moe/test_similarity.py::test_similarity_shares_sum_to_one_and_mix_only_the_past",
        "",
        "higher accuracy on several tasks",
        "3 seeds, accuracy at share of the dense layer's synaptic operations, routing included: event digits 89.3 "
        "+- 1.1 % at 38 % (dense 91.2 +- 1.2 %), speech-like events 65.0 +- 7.1 % at 39 % (dense 72.0 +- 1.4 %)",
        "not reproduced",
        "no better than loss-free balancing of the same blocks here",
    ),
)  # fmt: skip

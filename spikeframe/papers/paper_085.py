"""What paper 85 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "DeltaLLM: A Training-Free Framework Exploiting Temporal Sparsity for Efficient Edge LLM Inference"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        85, TITLE, "modules.attention.delta_keys.DeltaKeys",
        "modules/test_attention_recipes.py::test_changes_of_keys_are_fewer_while_keys_change_rarely_and_scores_stay_in_bounds",
        "47_linear_mixing.py",
        "scores from changes of keys make attention 57 to 60 % sparse at no loss",
        "binary keys of 10 %, 2048 tokens: with a feature drawn anew with probability 0.01, 0.05, 0.2, 0.55, 1, "
        "0.2, 0.9, 3.6, 9.9, 18.1 % of changes are not 0; scores are exact",
        "in part", "reconstructed from the abstract; keys are drawn, not those of a language model",
    ),
)  # fmt: skip

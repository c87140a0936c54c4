"""What paper 64 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Token Sparse Attention: Efficient Long-Context Inference with Interleaved Token Selection"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        64, TITLE, "modules.attention.planners.Probe",
        "modules/test_attention_recipes.py::test_a_subset_of_tokens_drops_at_most_the_given_mass_and_leaves_the_rest_silent",
        "46_selecting_blocks.py",
        "each head attends among the tokens that the last queries read: up to 3.23 times faster attention at 128k, "
        "less than 1 % lost",
        "planted overlaps, an eighth of the keys, 3 seeds: runs, scattered, stripes, periodic: 0.16, 0.19, 0.42, "
        "0.20 of the mass (chance 0.13)",
        "in part",
        "good where all queries read the same keys, near chance elsewhere; not causal; no language model was run",
    ),
)  # fmt: skip

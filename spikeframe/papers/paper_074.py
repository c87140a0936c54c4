"""What paper 74 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "PowerAttention: Exponentially Scaling of Receptive Fields for Effective Sparse Attention"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        74, TITLE, "modules.attention.planners.PowersOfTwo",
        "modules/test_attention_recipes.py::test_powers_of_two_reach_everything_in_logarithmically_many_layers",
        "47_linear_mixing.py",
        "keys at distances that are powers of two: everything is reached in log2 n layers; better than other static"
        " patterns at 94 % sparsity",
        "1024 tokens, 13 keys a token: 1, 6, 20, 43, 69, 88, 97, 99.7 % of the past reached in 1 to 8 layers; a "
        "window of 16 keys reaches 16 % in 11; spoken digits, 3 seeds: 93.7 +- 0.5 % against 93.9 +- 1.0 % of all "
        "pairs, with 30 % of the mixer's operations",
        "in part", "reach is reproduced; the comparison on language is out of reach here",
    ),
)  # fmt: skip

"""What paper 98 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Gated Associative Memory: A Parallel O(N) Architecture for Efficient Sequence Modeling"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        98, TITLE, "modules.attention.memory.AssociativeMemory",
        "modules/test_attention_recipes.py::test_a_memory_answers_token_by_token_and_recalls_noisy_patterns",
        "47_linear_mixing.py",
        "a memory of learnt patterns beside a convolution in place of attention: perplexity 882.57 against 918.99 "
        "on WikiText-2",
        "64 patterns of 64 bits with 20 % flipped: 70, 95, 98 % recalled at densities 0.1, 0.25, 0.5; cue recall, "
        "which needs other tokens: 29.9 % (chance 25 %)",
        "not reproduced",
        "it mixes no tokens beyond three taps, so a lookup fails as it must; language was not tried",
    ),
)  # fmt: skip

"""What paper 26 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "VMoBA: Mixture-of-Block Attention for Video Diffusion Models"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        26, TITLE, "modules.attention.recipes.vmoba",
        "modules/test_attention_recipes.py::test_cuboids_of_a_head_are_ranked_together_with_the_own_one_forced",
        "48_event_transformer.py",
        "cuboids of time and space in turn, ranked over a whole head: 2.92 times fewer operations in training at "
        "equal quality",
        "the selection equals the smallest prefix of the head's sorted masses, own cuboids first; all of it is "
        "dense attention to the bit",
        "in part", "the method's definition only: no video, and what it saves was not measured here",
    ),
)  # fmt: skip

"""What paper 224 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "BiFormer: Vision Transformer with Bi-Level Routing Attention"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        224, TITLE, "modules.attention.recipes.biformer",
        "modules/test_attention_recipes.py::test_regions_follow_their_permutation_and_find_their_partner",
        "48_event_transformer.py",
        "regions that read their k best regions, and a local convolution: 81.4 to 84.3 % on ImageNet",
        "16 x 16 tokens, 16 regions, 8 motifs in two regions each: the partner is among the 4 best in 64 of 64; "
        "event digits, a quarter of the pairs, 3 seeds: 80.2 +- 2.1 % against 87.8 +- 0.6 % of all pairs, with 85 %"
        " of the mixer's operations",
        "in part",
        "ImageNet is out of reach; at 64 tokens choosing costs nearly what it saves, and one region of four is too "
        "few",
    ),
)  # fmt: skip

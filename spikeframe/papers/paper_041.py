"""What paper 41 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "ViG: Linear-complexity Visual Sequence Learning with Gated Linear Attention"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        41, TITLE, "modules.attention.linear.BidirectionalGLA",
        "modules/test_attention_recipes.py::test_both_ways_together_are_dense_attention_and_the_diagonal_once_more",
        "",
        "gated linear attention both ways matches a transformer with 20 % of its operations at 224 pixels",
        "with gates of 1 both ways together are dense attention plus the diagonal; swapped gates on flipped tokens "
        "give the flipped output",
        "in part", "the mixer only; no network of it was trained",
    ),
)  # fmt: skip

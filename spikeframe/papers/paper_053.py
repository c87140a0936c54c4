"""What paper 53 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Sparsifiner: Learning Sparse Instance-Dependent Attention for Efficient Vision Transformers"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        53, TITLE, "modules.attention.scorers.TokenBasis",
        "modules/test_attention_recipes.py::test_a_token_basis_learns_a_fixed_layout_from_its_own_loss_alone", "",
        "a learnt low-rank map predicts the pairs worth computing: 48 to 69 % fewer operations of attention at 0.4 "
        "points",
        "32 tokens in a fixed layout of 4 motifs, a quarter of the pairs: 27 % of the mass before, 76 % after 80 "
        "steps, 78 % for a plan that knows the layout",
        "in part",
        "its basis is one over places; the prediction costs more multiplications than the pairs it saves at this "
        "size",
    ),
)  # fmt: skip

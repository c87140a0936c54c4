"""What paper 71 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Native Sparse Attention: Hardware-Aligned and Natively Trainable Sparse Attention"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        71, TITLE, "modules.attention.recipes.nsa",
        "modules/test_attention_recipes.py::test_a_branch_alone_with_a_full_budget_is_dense_attention",
        "45_cue_recall.py",
        "compressed, selected and window branches, trained from the start, match full attention; 9 times faster "
        "forward at 64k",
        "cue recall, 2 seeds: 99.4 % against 99.3 % of all pairs; spoken digits, 3 seeds: 94.4 +- 1.3 % against "
        "93.9 +- 1.0 %, with 4.3 times the operations of the mixer",
        "in part",
        "at 50 tokens three branches and their gates cost more than all pairs; long sequences were not trained",
    ),
)  # fmt: skip

"""What paper 10 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "SeerAttention: Learning Intrinsic Sparse Attention in Your LLMs"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        10, TITLE, "modules.attention.scorers.PooledGate",
        "modules/test_attention_recipes.py::test_a_learnt_gate_starts_as_block_sums_and_learns_from_its_own_loss_alone",
        "46_selecting_blocks.py",
        "a learnt gate finds the blocks: 90 % sparsity at 32k tokens at little loss of perplexity",
        "planted overlaps, an eighth of the blocks read, 3 seeds, motifs in runs: block sums 0.29 of the mass, the "
        "most that blocks can hold; the gate, which starts there, 0.16 when trained from random weights on one "
        "recording (chance 0.13)",
        "not reproduced",
        "with overlaps summed spikes give the mass of a block exactly, so a learnt gate can only approach them",
    ),
)  # fmt: skip

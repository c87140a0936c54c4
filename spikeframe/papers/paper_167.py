"""What paper 167 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "BLAST: Block-Level Adaptive Structured Matrices for Efficient Deep Neural Network Inference"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        167, TITLE, "modules.structured.blast.BLAST",
        "modules/test_structured.py::test_blast_holds_low_rank_and_block_diagonal_matrices_and_fits_planted_ones", "",
        "holds low-rank, block-diagonal and block-low-rank matrices; preconditioned descent fits a given one",
        "planted 4 x 4 blocks of rank 8 in 64 x 64, 3 seeds: relative error 0.22 after 20 rounds, 0.12 +- 0.08 after "
        "150, 0.018 with rank 16; the SVD of as many parameters 0.40; the error never rose", "reproduced",
    ),
    Claim(
        167, TITLE, "modules.structured.blast.BLAST",
        "modules/test_structured.py::test_forward_backward_and_event_driven_run_are_those_of_the_dense_matrix",
        "54_structured_weights.py",
        "70 % (ViT) and 40 % (GPT-2) less work at equal quality, and the least loss of all structured matrices",
        "event digits, 2 x 128 LIF neurons, a tenth of the hidden weights, 3 seeds: 94.0 +- 0.2 % (low rank 93.6 +- "
        "1.0, drawn at random 95.3 +- 0.8, dense 97.1 +- 0.5 %), for 84 % of the dense network's energy, drawn 27 %",
        "not reproduced",
        "ahead of low rank by less than the spread, behind random weights; two of its factors are graded work",
    ),
)  # fmt: skip

"""What paper 11 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Beyond l1 sparse coding in V1"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        11, TITLE, "neurons.lca.LCA",
        "neurons/test_lca.py::test_exact_relaxation_finds_the_support_that_soft_thresholds_bias", "",
        "l0-like penalties give sparser codes at the same error than l1",
        "3 of 128 columns in 64 dimensions, 100 signals: CEL0 (lambda 0.03) finds every support, error of the "
        "coefficients 0.008; soft (0.1) too, error 0.103; soft (0.06) finds 94 %, error 0.062",
        "in part", "on codes that are known; the next row has photographs",
    ),
    Claim(
        11, TITLE, "neurons.thresholds.CEL0",
        "neurons/test_lca.py::test_a_threshold_is_the_proximal_map_of_its_penalty", "22_sparse_coding.py",
        "at equal sparsity l0-like penalties leave about five times less error than l1; fields like Gabor functions",
        "500 patches of two photographs, 150 neurons, 20 of them active: error 0.084 of the variance with soft, 0.071 "
        "hard, 0.042 l_1/2, 0.029 CEL0 thresholds (2.9 times less); oriented fields are learnt with soft, noisier ones "
        "with CEL0", "in part",
        "two photographs, one dictionary each, one learning rate for all; hard thresholds gain little",
    ),
)  # fmt: skip

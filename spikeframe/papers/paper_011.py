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
        "in part", "on codes that are known, not on photographs; receptive fields were not learnt",
    ),
)  # fmt: skip

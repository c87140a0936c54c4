"""What paper 130 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Minimizing FLOPs to Learn Efficient Sparse Representations"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        130, TITLE, "modules.activation.regularisers.flops",
        "modules/test_activation.py::test_the_flops_penalty_leaves_units_more_even_than_l1_at_as_many_spikes",
        "53_sparse_activity.py",
        "squared mean activities give sparse and even representations, l1 uneven ones",
        "event digits, 100 LIF neurons, 8 epochs, 5 seeds: 93.1 +- 1.0 % at 66 hidden spikes a recording with "
        "evenness 1.25, 92.4 +- 1.3 at 44 (1.25); l1 in a sine stage 93.1 at 85 (1.49), 92.4 at 45 (1.66); no "
        "penalty 93.2 at 313 (1.39)",
        "reproduced",
    ),
)  # fmt: skip

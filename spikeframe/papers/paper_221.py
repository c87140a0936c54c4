"""What paper 221 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Increasing Liquid State Machine Performance with Edge-of-Chaos Dynamics Organized by Astrocyte-modulated ..."

CLAIMS: tuple[Claim, ...] = (
    Claim(
        221, TITLE, "analysis.branching.branching_factor",
        "analysis/test_populations.py::test_the_branching_factor_is_that_of_plain_loops", "38_astrocyte_liquid.py",
        "the astrocyte drives the branching factor towards 1, the more the heavier it feels spikes (MNIST: 1.42 at "
        "weight 0.002, 1.25 at 0.015, 0.99 at 0.1)",
        "N-MNIST, 1,000 neurons, two liquids: 1.42 and 1.52 plain, 1.14 and 1.16 at weight 0.1; of the first, 1.33 at "
        "0.015 and 1.42 with STDP alone",
        "in part", "10 s of first learning instead of 1,000 s; 1 is not reached",
    ),
    Claim(
        221, TITLE, "learning_rules.astrocyte.AstroSTDP",
        "core/test_liquid.py::test_weights_follow_the_astrocytes_state_as_the_equations_say", "38_astrocyte_liquid.py",
        "N-MNIST: plain liquid 95.02, with STDP 86.80, with the astrocyte 95.23 %, and 97.42 % with 8,000 neurons",
        "500 digits to learn from, logistic regression, five folds / 100 test digits, two liquids: plain 83.8 / 84 and "
        "84.4 / 80 %, astrocyte of weight 0.1 86.2 / 87 and 85.0 / 84 %; of the first, weight 0.015 86.6 / 86 %, STDP "
        "alone 85.0 / 83 %, plain with |w| = 0.7 instead of 3 86.4 / 86 % (branching factor 1.24)",
        "in part", "better than the untuned liquid, no better than one tuned by hand; differences near their spread",
    ),
)  # fmt: skip

"""What paper 221 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Increasing Liquid State Machine Performance with Edge-of-Chaos Dynamics Organized by Astrocyte-modulated ..."

CLAIMS: tuple[Claim, ...] = (
    Claim(
        221, TITLE, "learning_rules.astrocyte.AstroSTDP",
        "core/test_liquid.py::test_weights_follow_the_astrocytes_state_as_the_equations_say", "38_astrocyte_liquid.py",
        "N-MNIST, 1,000 neurons: LSM 95.02, with STDP 86.80, with astrocyte-modulated STDP 95.23 %; 8,000 neurons 97.42 %",
        "ACC",
        "in part", "WHY",
    ),
    Claim(
        221, TITLE, "analysis.branching.branching_factor",
        "analysis/test_populations.py::test_the_branching_factor_is_that_of_plain_loops", "38_astrocyte_liquid.py",
        "the astrocyte drives the branching factor towards 1: MNIST, 1.42 at weight 0.002 to 0.89 at 0.2",
        "BF",
        "in part", "WHY",
    ),
)  # fmt: skip

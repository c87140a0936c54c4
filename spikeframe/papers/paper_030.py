"""What paper 30 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        30, TITLE, "learning_rules.stochastic.reinforce",
        "learning_rules/test_stochastic.py::test_the_stated_baseline_has_the_least_variance", "",
        "REINFORCE is unbiased for any baseline and has a baseline of least variance",
        "three units: variance 3.00, 3.41, 2.48 without and 0.47, 0.40, 0.49 with it", "reproduced",
    ),
    Claim(
        30, TITLE, "learning_rules.conditional.ConditionalLinear",
        "learning_rules/test_stochastic.py::test_the_penalty_is_the_divergence_from_the_target_and_training_reaches_it",
        "20_conditional_computation.py",
        "four estimators train a network with a tenth of its gates open on MNIST, the noisy rectifier and "
        "straight-through best",
        "digits of 8 x 8 pixels, 3 seeds, test error: straight-through 2.5 +- 0.1 %, noisy rectifier 2.5 +- 0.2 %, "
        "smooth times random 2.7 +- 0.2 %, REINFORCE 3.2 +- 0.4 %; all groups 1.7 %; 12 to 31 % of the gates open",
        "in part",
        "the ordering holds; the task is small, gates open more often than asked for, and a plain layer of the "
        "same work errs less (1.8 %)",
    ),
)  # fmt: skip

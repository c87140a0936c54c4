"""What paper 226 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Hebbian Learning based Orthogonal Projection for Continual Learning of Spiking Neural Networks"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        226, TITLE, "learning_rules.hlop.Subspace",
        "learning_rules/test_hlop.py::test_the_rows_span_the_principal_subspace", "32_hlop.py",
        "lateral Hebbian and anti-Hebbian learning finds the principal subspace of a task's activity",
        "smallest cosine of a principal angle above 0.9995 on Gaussian data; 100 rows miss 3.5 % of the digits' input "
        "activity, the best 100 axes 2.9 %", "reproduced",
    ),
    Claim(
        226, TITLE, "learning_rules.hlop.HLOP",
        "learning_rules/test_hlop.py::test_answers_to_a_finished_task_stay_whatever_rule_learns_the_next",
        "32_hlop.py", "nearly no forgetting: permuted MNIST, ten tasks, average 95.15 %, backward transfer -1.30 %",
        "permuted event digits, five tasks, 100 LIF neurons, 3 seeds: average 92.7 +- 0.1 %, backward transfer "
        "-0.5 +- 0.4 %; unprotected 66.5 +- 2.1 % and -33.7 +- 2.6 %", "in part",
        "the direction holds; MNIST, CIFAR-100, miniImageNet and five data sets were not run, and activity is taken "
        "at every step, not as a rate over time",
    ),
)  # fmt: skip

"""What paper 7 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Ensemble-to-ensemble connectivity, sparse training and Hebbian rewiring (G2GNet), arXiv:2508.14140"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        7, TITLE, "modules.g2g.G2GLinear",
        "learning_rules/test_rewiring.py::test_the_density_of_groups_is_as_published", "30_sparse_training.py",
        "up to 75 % sparsity, up to 4.3 points above its dense network (F-MNIST, CIFAR-10, CIFAR-100)",
        "digits through an event camera, 2 x 128 LIF neurons, 5 seeds: dense 96.2 +- 0.6 %; at 50 / 75 / 90 % sparsity "
        "groups 95.0 +- 0.5 / 93.5 +- 0.7 / 92.5 +- 1.6 %, random masks of as many connections 95.3 +- 0.9 / "
        "94.2 +- 1.2 / 92.6 +- 1.6 %",
        "not reproduced",
        "a small, easy task and small layers; neither above the dense network nor above random masks",
    ),
    Claim(
        7, TITLE, "learning_rules.sparse_training.HebbianRewiring",
        "learning_rules/test_rewiring.py::test_the_number_of_connections_stays_and_the_optimiser_follows",
        "30_sparse_training.py",
        "growing connections between correlated neurons while training improves sparse networks",
        "same digits, at 50 / 75 / 90 % sparsity: groups rewired 94.8 +- 1.3 / 94.0 +- 1.7 / 93.2 +- 1.2 %; random "
        "masks with SET 95.4 +- 0.5 / 94.2 +- 1.0 / 92.9 +- 0.7 %",
        "not reproduced",
        "0.5 to 0.7 points above fixed groups at 75 and 90 %, less than the spread over seeds",
    ),
)  # fmt: skip

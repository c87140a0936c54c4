"""What paper 55 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "WINA: Weight Informed Neuron Activation for Accelerating Large Language Model Inference"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        55, TITLE, "modules.activation.recipes.wina",
        "modules/test_activation.py::test_column_norms_lower_the_error_of_gating",
        "53_sparse_activity.py",
        "up to 2.94 points more than gating by size alone (TEAL) at equal sparsity",
        "event digits, 100 LIF neurons, 8 epochs: error of a layer with uneven column norms, left out 50, 65, 80 % "
        "of its inputs: by size 0.017, 0.050, 0.147, WINA 0.003, 0.011, 0.037. Input events of the network, 5 seeds: "
        "of 93.2 +- 0.8 % (289 nJ) 92.3 +- 1.0 % stay at half of them (201 nJ), 87.3 % at a quarter (111 nJ)",
        "in part",
        "the mechanism; language models were not run",
    ),
)  # fmt: skip

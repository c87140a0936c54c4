"""What paper 168 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        168, TITLE, "modules.sparsity.reconstruction.sparsegpt",
        "modules/test_sparsity.py::test_one_shot_pruning_lowers_the_output_error_in_the_papers_order",
        "51_one_shot_pruning.py",
        "50 to 60 % of the weights of OPT-175B in one shot at little loss, far above magnitude; 2:4 and 4:8 too",
        "event digits, 2 x 64 LIF neurons, no retraining, 3 seeds: SparseGPT 96.1, 94.8, 84.2 % at 70, 80, 90 % "
        "missing, Wanda 94.4, 84.6, 35.3, magnitude 85.4, 77.3, 36.9 (dense 97.0); on the traces of spikes 96.4, "
        "94.8, 87.8 %. Output error in the order magnitude, Wanda, SparseGPT at 70 %, 2:4 and 1:4",
        "in part",
        "the mechanism and its order; models of billions of weights were not run",
    ),
)  # fmt: skip

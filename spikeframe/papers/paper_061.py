"""What paper 61 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Dynamic Sparse No Training: Training-Free Fine-tuning for Sparse LLMs"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        61, TITLE, "modules.sparsity.reconstruction.dsnot",
        "modules/test_sparsity.py::test_swaps_never_raise_the_error_of_a_row_and_keep_its_count",
        "51_one_shot_pruning.py",
        "perplexity lower by 26.8 than Wanda's at 70 % (LLaMA-7B), without training",
        "event digits, 2 x 64 LIF neurons, no retraining, 3 seeds: at 70 % Wanda 94.4 +- 0.6, DSnoT 96.4 +- 0.7 % "
        "(dense 97.0); at 80 % 84.6 +- 4.0 and 92.0 +- 1.1; at 90 % 35 +- 7 and 47 +- 14. A bias that restores mean "
        "currents does as much: 96.0, 93.4, 55 %",
        "in part",
        "the published figure is LLaMA-7B's, which was not run",
    ),
)  # fmt: skip

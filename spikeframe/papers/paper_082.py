"""What paper 82 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "ProSparse: Introducing and Enhancing Intrinsic Activation Sparsity within Large Language Models"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        82, TITLE, "modules.activation.recipes.ProSparse",
        "modules/test_activation.py::test_prosparse_rises_in_stages_and_shifts_the_threshold",
        "53_sparse_activity.py",
        "89 % activation sparsity in LLaMA2-7B and 13B at comparable quality",
        "event digits, 100 LIF neurons, 8 epochs, 5 seeds, one sine stage: 93.6 +- 0.6 % at 160 hidden spikes a "
        "recording, 93.1 at 85, 92.4 +- 0.9 at 45 (no penalty: 93.2 at 313)",
        "in part",
        "seven times fewer spikes for 0.8 points; language models were not run",
    ),
)  # fmt: skip

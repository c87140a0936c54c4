"""What paper 63 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "CHESS: Optimizing LLM Inference via Channel-Wise Thresholding and Selective Sparsification"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        63, TITLE, "modules.activation.recipes.chess",
        "modules/test_activation.py::test_a_threshold_per_channel_beats_one_for_all",
        "53_sparse_activity.py",
        "up to 1.27 times faster with less loss than one threshold for all channels",
        "hidden currents of a network on event digits, a gated block with uneven partners: relative error with one "
        "threshold and one per channel 0.0016 and 0.0002 at 50 %, 0.0039 and 0.0011 at 70 %, 0.059 and 0.018 at 90 % "
        "silent",
        "in part",
        "less loss as published; speed was not timed, and attention is not here",
    ),
)  # fmt: skip

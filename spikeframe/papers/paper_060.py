"""What paper 60 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "CoreInfer: Accelerating Large Language Model Inference with Semantics-Inspired Adaptive Sparse Activation"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        60, TITLE, "modules.activation.core_set.CoreSet",
        "modules/test_activation.py::test_a_core_is_chosen_once_and_is_alike_within_a_class",
        "53_sparse_activity.py",
        "a core chosen once per sentence: 10.3 times faster without loss of quality",
        "event digits, 100 LIF neurons, 8 epochs: a core found in the first 3 of 10 steps, 5 seeds: half of the "
        "neurons 92.5 +- 0.4 %, 30 % 91.2, 20 % 89.9, 10 % 88.8 (all 93.2 %); cores of one class are more alike than "
        "of two (the test)",
        "in part",
        "the loss is small as published; updates that are spared are counted, not timed",
    ),
)  # fmt: skip

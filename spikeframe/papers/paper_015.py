"""What paper 15 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Jointly-Learned Exit and Inference for a Dynamic Neural Network : JEI-DNN"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        15, TITLE,
        "modules.moe.recipes.jei_dnn.jei_dnn",
        "modules/moe/test_jei_dnn.py::test_jei_leaves_early_where_it_is_easy",
        "42_early_exit.py",
        "better accuracy at equal cost than thresholds on confidence (curves; CIFAR, SVHN)",
        "event digits, first 120 ms, one seed: prices 0.1 to 3 leave after 3.5 to 2.6 steps with 86.2 to 79.2 % "
        "right; heads at fixed steps 2, 3, 4, 6, 12: 61.0, 79.9, 84.4, 87.1, 83.8 %",
        "in part",
        "exits in time instead of depth, 64 LIF neurons; no threshold baseline",
    ),
    Claim(
        15, TITLE,
        "modules.moe.recipes.jei_dnn.EventDrivenExit",
        "modules/moe/test_jei_dnn.py::test_jei_leaves_early_where_it_is_easy",
        "42_early_exit.py",
        "inference cost falls with the price of computing",
        "3 seeds, accuracy at share of the dense layer's synaptic operations, routing included: event digits 91.3 "
        "+- 0.3 % at 23 % (dense 91.2 +- 1.2 %), speech-like events 64.3 +- 2.2 % at 64 % (dense 72.0 +- 1.4 %)",
        "in part",
        "another network, whose heads read counts; most digits are told at its first exit, where a fixed one does "
        "as well; words are not",
    ),
)  # fmt: skip

"""What paper 95 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Fire Together Wire Together: A Dynamic Pruning Approach with Self-Supervised Mask Prediction"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        95, TITLE, "modules.ftwt.FTWTConv", "modules/test_ftwt.py::test_chosen_filters_alone_give_what_masking_gives",
        "37_ftwt.py",
        "VGG-16 on CIFAR-10, 93.82 % dense: 93.73 % with 56 % fewer operations (decoupled), 93.55 % with 65 % (joint)",
        "two convolutions on event digits, 3 seeds, 93.8 +- 0.2 % dense: decoupled 93.8 +- 0.5 % with 42 % fewer "
        "(r = 0.85), 93.5 +- 0.9 % with 64 % (0.7), 91.8 +- 1.2 % with 86 % (0.5); joint 94.0 +- 0.8, 93.6 +- 1.0, "
        "90.9 +- 1.0 % with 41, 62, 86 %", "in part",
        "the direction holds, but by a choice that is the same for all inputs; CIFAR-10 and ImageNet were not run",
    ),
    Claim(
        95, TITLE, "modules.ftwt.FTWTConv", "modules/test_ftwt.py::test_a_head_learns_more_than_the_majority",
        "37_ftwt.py", "a head of one pooled vector and one linear map chooses filters by input",
        "more than the majority where channels' means differ much (the test); in the network on digits the second "
        "layer's heads are right about 76.6 % of the filters at r = 0.7, the best constant choice about 76.7 %, and no "
        "filter is used for some inputs only, with the published softmax or without", "not reproduced",
        "two layers, ten epochs, few channels: what is saved there is static pruning; deep networks were not run",
    ),
)  # fmt: skip

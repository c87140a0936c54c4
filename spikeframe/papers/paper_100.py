"""What paper 100 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "SparCL: Sparse Continual Learning on the Edge"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        100, TITLE, "learning_rules.sparcl.DynamicMasks",
        "learning_rules/test_sparcl.py::test_masks_follow_the_schedule_and_closed_weights_stay_zero", "36_sparcl.py",
        "up to 23 times fewer training operations, and up to 1.7 points better than the best dense method",
        "five permuted tasks of event digits, 4 epochs each, 3 seeds: dense DER++ 88.9 +- 1.6 %; SparCL 84.3 +- 4.1 % "
        "at 5.0 times fewer operations (75 % sparse), 77.8 +- 1.0 % at 8.8 (90 %), 64.8 +- 0.4 % at 11.8 (95 %); "
        "dense with a quarter of the epochs 70.9 +- 2.0 % at 4.0 times fewer", "in part",
        "far better than training less at the same cost, but below the dense method, not above it; CIFAR-10 and "
        "Tiny-ImageNet with ResNet-18 were not run",
    ),
    Claim(
        100, TITLE, "learning_rules.sparcl.GradientMasks",
        "learning_rules/test_sparcl.py::test_gradient_masks_keep_the_largest_fifth_and_last_a_period", "36_sparcl.py",
        "a fifth of the gradient, and three in ten samples fewer, are enough",
        "both as published (exactly a fifth of each layer's gradient; samples that are never learnt stay); their "
        "effect alone was not measured", "in part", "no ablation was run here",
    ),
)  # fmt: skip

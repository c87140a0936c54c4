"""What paper 152 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Accelerating Deep Neural Networks via Semi-Structured Activation Sparsity"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        152, TITLE, "modules.activation.positions.Positions",
        "modules/test_activation.py::test_places_are_left_out_in_all_channels_and_counted_exactly",
        "53_sparse_activity.py",
        "10, 20, 30 % of the places: 70.5, 69.4, 67.9 % (dense 70.5) at 1.11, 1.25, 1.42 times the speed (ResNet18, "
        "ImageNet)",
        "event digits, 100 LIF neurons, 8 epochs, trained on what is left, 2 seeds: drawn pixels 95.8, 95.2, 94.1, "
        "92.6 % at 10, 30, 50, 70 % left out; those of fewest events 95.9, 95.8, 95.5, 95.8 %",
        "in part",
        "accuracy; work falls with the pixels but was not timed, and the convolution behind the gate runs dense",
    ),
)  # fmt: skip

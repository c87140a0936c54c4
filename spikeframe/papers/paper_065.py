"""What paper 65 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Sparsing Law: Towards Large Language Models with Greater Activation Sparsity"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        65, TITLE, "modules.activation.calibrators.loss_p",
        "modules/test_activation.py::test_the_loss_rises_by_the_given_per_cent",
        "53_sparse_activity.py",
        "PPL-p%: cuts of all layers at an allowed rise of the loss, for any nonlinearity; laws over data, width and "
        "depth",
        "event digits, 100 LIF neurons, 8 epochs: losses that may rise by 1, 3, 10, 30 % leave 80, 69, 44, 26 % of "
        "the input events, at 95.0, 94.8, 94.2, 90.2 % accuracy (95.8); the ratio is met to within half a per cent "
        "(the test)",
        "in part",
        "the metric; the laws over data, width and depth were not fitted",
    ),
)  # fmt: skip

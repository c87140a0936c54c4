"""What paper 128 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Efficient N:M Sparse DNN Training Using Algorithm, Architecture, and Dataflow Co-Design"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        128, TITLE, "modules.sparsity.bidirectional.BidirectionalLinear",
        "modules/test_sparsity_recipes.py::test_bdwp_propagates_errors_through_the_other_pattern",
        "49_nm_sparsity.py",
        "2:8 in both passes: 0.56 points below dense, training 1.75 times faster",
        "event digits, 100 LIF neurons, input layer at 5:20, 2:20, 1:20, 8 epochs, 3 seeds (dense 95.5 +- 0.6 %): "
        "BDWP 95.0 +- 0.4, 93.3, 92.1 +- 0.8 %; of the multiply-accumulates of a training step 50 % are left at 5:20",
        "in part",
        "half a point below dense at 5:20, as published for 2:8; the accelerator and its speed are out of scope",
    ),
)  # fmt: skip

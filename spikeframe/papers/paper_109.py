"""What paper 109 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Differentiable Learning of Generalized Structured Matrices for Efficient Deep Neural Networks"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        109, TITLE, "modules.structured.gblr.box",
        "modules/test_structured.py::test_gblr_boxes_are_where_they_should_be_for_any_sigma", "",
        "the Gaussian-Dirichlet mask is a box in the limit and differentiable in width and place",
        "the box to 1e-13 without the Gaussian, its sum width times n for any sigma", "reproduced",
    ),
    Claim(
        109, TITLE, "modules.structured.gblr.GBLR",
        "modules/test_structured.py::test_gblr_finds_the_places_of_two_planted_boxes", "",
        "the structure of a matrix is found by gradient descent",
        "two planted boxes of 80 and 100 weights in 32 x 32, places begun nearby: found with 74 and 94 weights, "
        "relative error 0.002", "in part", "one small matrix; started at distant places the boxes were not tried",
    ),
    Claim(
        109, TITLE, "modules.structured.gblr.GBLR",
        "modules/test_structured.py::test_forward_backward_and_event_driven_run_are_those_of_the_dense_matrix", "",
        "lower complexity or higher quality than low-rank, block-sparse and block-low-rank weights on images and text",
        "", "not tried", "the published networks are out of reach here",
    ),
)  # fmt: skip

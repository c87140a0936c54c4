"""What paper 117 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Pixelated Butterfly: Simple and Efficient Sparse Training for Neural Network Models"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        117, TITLE, "modules.structured.pixelfly.flat_butterfly",
        "modules/test_structured.py::test_pixelfly_patterns_have_the_published_densities_and_connect_everything", "",
        "every row of a flat butterfly has one cell more than there are factors; all factors connect every pair",
        "densities 0.375, 0.5, 0.3125 and 0.125 for (8, 2), (8, 3), (16, 4) and (32, 3); connected with log2(size) "
        "factors, not with one fewer", "reproduced",
    ),
    Claim(
        117, TITLE, "modules.structured.pixelfly.Pixelfly",
        "modules/test_structured.py::test_pixelfly_recovers_a_matrix_of_its_own_form", "54_structured_weights.py",
        "a fixed pattern beside a low-rank product trains from scratch to dense quality, up to 2.5 times faster",
        "event digits, 2 x 128 LIF neurons, a tenth of the hidden weights, 3 seeds: 91.7 +- 3.5 % (drawn blocks 95.2 "
        "+- 0.5, dense 97.1 +- 0.5 %), for 39 % of the dense network's energy, drawn blocks 26 %; a matrix of its "
        "form is found again", "not reproduced",
        "behind blocks drawn at random here, with a wide spread; speed of training not timed",
    ),
)  # fmt: skip

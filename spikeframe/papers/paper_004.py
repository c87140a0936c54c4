"""What paper 4 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Is Temperature Sample Efficient for Softmax Gaussian Mixture of Experts?"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        4, TITLE,
        "modules.moe.recipes.activated_gate.activated_gate",
        "modules/moe/test_activated_gate.py::test_activated_gate_temperature_is_told_apart_from_slopes_by_the_right_activations",
        "",
        "temperature and slopes of a softmax gate are tied, so estimates are slow; sigmoid, tanh or GELU before it "
        "part them",
        "null directions of the gate's Fisher matrix (3 experts, 2 inputs, 500 points): identity 4, ReLU 2, square "
        "2, tanh 1, sigmoid 1; one is the shift that every softmax has",
        "reproduced",
    ),
    Claim(
        4, TITLE,
        "modules.moe.recipes.activated_gate.activated_gate",
        "modules/moe/test_activated_gate.py::test_activated_gate_temperature_runs_from_even_to_one",
        "",
        "the gate estimates at the rate n^-1/2 (theory)",
        "",
        "not tried",
        "rates of estimation of a Gaussian mixture; the gate is used as a layer here",
    ),
)  # fmt: skip

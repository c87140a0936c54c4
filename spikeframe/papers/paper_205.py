"""What paper 205 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Towards Memory- and Time-Efficient Backpropagation for Training Spiking Neural Networks"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        205, TITLE, "learning_rules.sltt.SLTT",
        "learning_rules/test_gradient_rules.py::test_what_is_held_for_the_backward_grows_with_t_for_bptt_alone",
        "24_gradient_rules.py", "memory does not grow with the number of time steps; 70 % less than BPTT",
        "what autograd holds is the same at 12 and at 60 steps, and below BPTT's at 12", "reproduced",
    ),
    Claim(
        205, TITLE, "learning_rules.sltt.SLTT",
        "learning_rules/test_gradient_rules.py::test_sltt_and_bptt_point_the_same_way_the_more_the_membrane_forgets",
        "24_gradient_rules.py",
        "the gradient through time matters little: accuracy as of BPTT (CIFAR-10 94.44 %, DVS-Gesture 97.92 %)",
        "event digits, 31 steps, 3 seeds, membranes of 10 steps: BPTT 96.2 +- 0.3 %, SLTT 93.6 +- 1.3 %, SLTT-K with "
        "K = 5 91.6 +- 0.4 %", "in part",
        "the published membranes forget 91 % a step, these 10 %; small networks, other data",
    ),
)  # fmt: skip

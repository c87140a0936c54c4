"""What paper 205 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Towards Memory- and Time-Efficient Backpropagation for Training Spiking Neural Networks"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        205, TITLE, "learning_rules.sltt.SLTT",
        "learning_rules/test_gradient_rules.py::test_what_is_held_for_the_backward_grows_with_t_for_bptt_alone",
        "24_gradient_rules.py", "memory does not grow with the number of time steps; 70 % less than BPTT",
        "peak memory of a batch at T = 10, 100, 1000: BPTT 0.2, 5.7, 53 MB, SLTT at most 0.7 MB; what autograd holds "
        "is the same at 12 and at 60 steps", "reproduced",
    ),
    Claim(
        205, TITLE, "learning_rules.sltt.SLTT",
        "learning_rules/test_gradient_rules.py::test_sltt_and_bptt_point_the_same_way_the_more_the_membrane_forgets",
        "24_gradient_rules.py",
        "the gradient through time matters little: accuracy as of BPTT (CIFAR-10 94.44 %, DVS-Gesture 97.92 %)",
        "event digits, 31 steps, 3 seeds: membranes of one step BPTT 93.5 +- 0.2 %, SLTT 93.3 +- 0.4 %, SLTT-K with "
        "K = 5 90.8 +- 1.1 %; of ten steps 96.2 +- 0.3, 93.6 +- 1.3, 91.6 +- 0.4 %", "in part",
        "it holds where membranes forget fast (published: 91 % a step; here 63 % and 10 %); small networks, other data",
    ),
)  # fmt: skip

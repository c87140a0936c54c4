"""What paper 24 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Learning with Boolean threshold functions"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        24, TITLE, "learning_rules.boolean_threshold.learn",
        "learning_rules/test_boolean_threshold.py::test_exclusive_or_and_a_full_adder_are_found_exactly",
        "34_boolean_threshold.py",
        "projections find exact circuits from data: the 2 x 2 bit multiplier in 3 of 5 runs of 10,000 iterations",
        "multiplier 13 of 20 within 10,000 iterations, 17 of 20 within 20,000 (mean of those 7,499; the authors' "
        "program 3,561 +- 750); full adder 50 of 50, parity of 3 bits 47 of 50, exclusive or 43 of 50", "reproduced",
    ),
    Claim(
        24, TITLE, "learning_rules.boolean_threshold.Search",
        "learning_rules/test_boolean_threshold.py::test_both_projections_meet_their_set_and_leave_it_alone",
        "34_boolean_threshold.py", "solutions are networks of gates: weights may be replaced by -1, 0 and 1",
        "still exact in 15 of 17 multipliers, 44 of 50 adders, 47 of 47 parities, 43 of 43 exclusive ors", "in part",
        "with few data some neurons use inputs that no item tells apart, and rounding makes their sums tie",
    ),
    Claim(
        24, TITLE, "learning_rules.boolean_threshold.ThresholdNetwork",
        "learning_rules/test_boolean_threshold.py::test_a_network_runs_as_its_gates_say_and_costs_what_it_uses", "",
        "3 x 3 multiplier, autoencoders, random logic of 5 layers of 32, rule 30, digits: exact, or better than "
        "gradients",
        "", "not tried", "hours of searching; wiring, data and search take them as they are",
    ),
)  # fmt: skip

"""What paper 37 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "How do neurons operate on sparse distributed representations? A mathematical theory ..."

CLAIMS: tuple[Claim, ...] = (
    Claim(
        37, TITLE, "modules.sdr.false_positive", "modules/test_sdr.py::test_false_positives_are_as_published",
        "13_active_dendrites.py", "false positives 4.0e-21 (n 10000, a 64, s 24, theta 12), 0.63 (n 500, a 256)",
        "all twelve published values to five digits", "reproduced",
    ),
    Claim(
        37, TITLE, "modules.active_dendrites.ActiveDendrites",
        "modules/test_active_dendrites.py::"
        "test_stored_patterns_are_recognised_and_random_ones_are_not_as_the_theory_says",
        "13_active_dendrites.py",
        "500 patterns of 7 in 100 cells: 0.1346 of random ones match at theta 4, 0.00285 at 5 (simulated)",
        "0.1355 +- 0.0015 and 0.0028 +- 0.0009 (3 seeds of 5000); theory 0.1347 and 0.0028", "reproduced",
    ),
)  # fmt: skip

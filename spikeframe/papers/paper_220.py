"""What paper 220 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Learning heterogeneous delays in a layer of spiking neurons for fast motion detection"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        220, TITLE, "modules.motif.MotifDetector",
        "modules/test_motif.py::test_motion_is_learned_with_the_polarity_flip_and_the_kernels_follow_it",
        "14_motion_delays.py", "36 motions of photographs on 128 x 128 pixels: about 91 % right (chance 2.8 %)",
        "4 motions of textures on a ring of 32 pixels, 3 seeds: 100 % right; without exchanged polarities "
        "25.0 +- 4.5 % (chance 25 %)", "in part",
        "a small task in one dimension, with textures in place of photographs",
    ),
    Claim(
        220, TITLE, "modules.motif.MotifDetector.pruned",
        "modules/test_motif.py::test_pruning_keeps_the_largest_entries", "14_motion_delays.py",
        "31 times fewer synapses near peak accuracy, half of it at 670 times fewer; shorter kernels lose it sooner",
        "10 times fewer synapses: 94.7 +- 7.4 %; 33 times: 31.9 %; delays up to 2 of 9 ms: 57.5 +- 4.1 %", "in part",
        "the kernel has 1,224 entries, not 437,000: there is less to prune",
    ),
)  # fmt: skip

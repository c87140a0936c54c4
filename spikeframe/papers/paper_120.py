"""What paper 120 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Dynamic Sparse Training with Structured Sparsity"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        120, TITLE, "modules.sparsity.rewiring.SRigL",
        "modules/test_sparsity.py::test_srigl_has_one_fan_in_and_switches_weak_targets_off",
        "50_dynamic_sparse_training.py",
        "constant fan-in with ablation is as good as RigL; at 90 % 3.6 times faster than dense on a CPU, 2 times "
        "than unstructured",
        "event digits, 2 x 64 LIF neurons, 8 epochs, 3 seeds: SRigL 94.2 +- 1.2, 88.8 +- 0.4, 70.2 +- 5.7 % at 90, "
        "95, 98 % missing, RigL 91.6, 86.8, 55.8 %; 5 of 128 neurons switched off at 98 %",
        "in part",
        "accuracy is at or above RigL's; speed is that of kernels for constant fan-in, which are not part of this "
        "row",
    ),
)  # fmt: skip

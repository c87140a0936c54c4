"""What paper 9 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = (
    "Towards Foundational Models for Dynamical System Reconstruction: Hierarchical Meta-Learning via Mixture of "
    "Experts (MixER)"
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        9, TITLE,
        "modules.moe.recipes.mixer.FittedRouter",
        "modules/moe/test_mixer.py::test_mixer_gate_learns_which_cluster_is_whose",
        "",
        "clustering and least squares assign environments to experts, up to ten families of equations",
        "3, 5 and 10 clusters of contexts with known losses, 10 seeds each: every sample goes to its expert",
        "in part",
        "the gate's update alone, begun at points far apart: tiny random centroids leave clusters empty",
    ),
    Claim(
        9, TITLE,
        "modules.moe.recipes.mixer.mixer",
        "modules/moe/test_mixer.py::test_mixer_parts_two_families_of_neurons",
        "",
        "one expert per family reconstructs dynamics better than one for all",
        "spike trains of fast and slow LIF neurons: each kind goes to its expert, error below half of the better "
        "single one's",
        "in part",
        "given experts, contexts from rates; meta-learning of the experts is not built",
    ),
)  # fmt: skip

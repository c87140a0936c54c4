"""What paper 225 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "FlyLoRA: Boosting Task Decoupling and Parameter Efficiency via Implicit Rank-Wise Mixture-of-Experts"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        225, TITLE,
        "modules.moe.recipes.flylora.flylora",
        "modules/moe/test_flylora.py::test_flylora_bias_uses_all_units_and_signs_matter",
        "",
        "the frozen sparse projection routes, a bias keeps all ranks in use",
        "16 units, top 4: variation of their use 1.26 without, 0.036 after 250 updates of the bias",
        "reproduced",
    ),
    Claim(
        225, TITLE,
        "modules.moe.recipes.flylora.flylora",
        "modules/moe/test_flylora.py::test_flylora_updates_of_two_tasks_are_nearly_orthogonal",
        "",
        "updates of different tasks interfere little; consistent gains in four domains",
        "1,024 inputs, rank 32, correlated columns: cosine of the updates 0.82 with one projection for both, -0.001"
        " with two",
        "in part",
        "orthogonality of the updates only; it does not make merged ones harmless",
    ),
)  # fmt: skip

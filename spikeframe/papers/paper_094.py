"""What paper 94 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "HiP Attention: Sparse Sub-Quadratic Attention with Hierarchical Attention Pruning"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        94, TITLE, "modules.attention.planners.Tree",
        "modules/test_attention_recipes.py::test_a_tree_search_evaluates_logarithmically_many_scores_and_sums_find_the_needle",
        "46_selecting_blocks.py",
        "a tree search finds the best keys in O(T log T) with little or no loss",
        "evaluations 2 k log2(n / k) per query; an eighth of planted keys, 3 seeds, runs, scattered, stripes, "
        "periodic: 0.34, 0.21, 0.34, 0.26 of the mass, with sums for intervals 0.36, 0.23, 0.47, 0.27; one key in "
        "256, found 11 of 50 times, with sums 50",
        "in part",
        "a single token represents an interval of sparse spikes poorly, a sum does; no language model was run",
    ),
)  # fmt: skip

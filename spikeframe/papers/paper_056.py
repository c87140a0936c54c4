"""What paper 56 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "R-Sparse: Rank-Aware Activation Sparsity for Efficient LLM Inference"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        56, TITLE, "modules.activation.recipes.r_sparse",
        "modules/test_activation.py::test_the_split_layer_is_exact_at_full_rank_and_never_worse_than_gating",
        "53_sparse_activity.py",
        "50 % model sparsity at comparable quality, generation 43 % faster",
        "event digits, 100 LIF neurons, 8 epochs: on hidden currents no split between columns and low rank beat "
        "columns alone at 30 to 90 %, so the search returned WINA's gate each time; at full rank the layer is exact, "
        "and a layer of rank 4 is served by its singular vectors",
        "not reproduced",
        "the weights tried are of full rank; language models, whose inputs have a low-rank rest, were not run",
    ),
)  # fmt: skip

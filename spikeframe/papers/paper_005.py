"""What paper 5 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "COMET: Learning Cardinality Constrained Mixture of Experts with Trees and Local Search"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        5, TITLE,
        "modules.moe.recipes.comet.comet",
        "modules/moe/test_comet.py::test_comet_gates_are_shares_and_decided_trees_are_sparse",
        "",
        "k trees leave at most k experts, exactly, and gradients where nodes are undecided",
        "2 to 8 experts: gates sum to 1 within 1e-6, decided trees leave at most k, decided nodes have no gradient",
        "reproduced",
    ),
    Claim(
        5, TITLE,
        "modules.moe.recipes.comet.PermutationSearch",
        "modules/moe/test_comet.py::test_comet_local_search_finds_a_planted_assignment",
        "",
        "the local search makes up for bad assignments and cuts the search budget up to 100 times",
        "the best assignment of 6 leaves to 6 experts is found in 100 steps, at temperatures from 0.1 to 0.001",
        "in part",
        "planted costs; the published temperatures, 1e-3 to 1e-7, are far below scores of 0.05",
    ),
    Claim(
        5, TITLE,
        "modules.moe.recipes.comet.comet",
        "modules/moe/test_comet.py::test_comet_gates_are_shares_and_decided_trees_are_sparse",
        "",
        "up to 13 % better AUC than hash and top-k routing (recommenders)",
        "3 seeds, accuracy at share of the dense layer's synaptic operations, routing included: event digits 77.8 "
        "+- 8.0 % at 106 % (dense 91.2 +- 1.2 %), speech-like events 63.2 +- 3.3 % at 39 % (dense 72.0 +- 1.4 %)",
        "not reproduced",
        "its nodes look at the trace of every input at every step, which costs more than the events that it saves; "
        "as a gate it learned badly in so few updates",
    ),
)  # fmt: skip

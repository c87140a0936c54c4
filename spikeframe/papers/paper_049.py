"""What paper 49 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "EvoMoE: An Evolutional Mixture-of-Experts Training Framework via Dense-To-Sparse Gate"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        49, TITLE,
        "modules.moe.recipes.evomoe.evomoe",
        "modules/moe/test_evomoe.py::test_evomoe_gate_goes_from_dense_to_sparse",
        "",
        "the gate goes from dense to one expert by an annealed Gumbel softmax",
        "16 experts, scores of spread 1: 16.0, 15.1, 8.3, 4.5 and 1.7 experts run at tau = 2, 1, 0.5, 0.3 and 0.1; "
        "one after the last phase",
        "reproduced",
    ),
    Claim(
        49, TITLE,
        "modules.moe.recipes.evomoe.EvoMoE",
        "modules/moe/test_evomoe.py::test_evomoe_experts_are_masked_copies_of_the_first",
        "",
        "better than Switch, BASE, Hash and StableMoE (language models)",
        "3 seeds, accuracy at share of the dense layer's synaptic operations, routing included: event digits 91.3 "
        "+- 1.6 % at 37 % (dense 91.2 +- 1.2 %), speech-like events 65.7 +- 4.5 % at 38 % (dense 72.0 +- 1.4 %)",
        "in part",
        "eight experts of 16 neurons, one of which runs, against a dense layer of 64; the compared gates were not "
        "trained",
    ),
)  # fmt: skip

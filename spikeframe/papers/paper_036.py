"""What paper 36 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "BlockFFN: Towards End-Side Acceleration-Friendly Mixture-of-Experts with Chunk-Level Activation Sparsity"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        36, TITLE,
        "modules.moe.recipes.blockffn.blockffn",
        "modules/moe/test_blockffn.py::test_blockffn_losses_make_steps_and_chunks_sparse",
        "44_token_and_chunk_sparsity.py",
        "more than 80 % of the experts unused by a token, more than 70 % by 8 tokens in a row",
        "eight modes, 16 experts: 85.5 % unused by a step, 80.9 % by 8 steps at accuracy 86.3 %; 71.6 and 58.3 % at"
        " 89.2 %; without the losses 16.6 and 5.3 % at 89.6 %. Synaptic operations a step: 246, 393 and 1,012",
        "in part",
        "a toy of eight modes instead of text; the kernels for phones are not built",
    ),
    Claim(
        36, TITLE,
        "modules.moe.recipes.blockffn.BlockRouter",
        "modules/moe/test_blockffn.py::test_blockffn_scores_do_not_depend_on_size",
        "",
        "kernels up to 3.67 times faster than dense ones on end-side devices",
        "3 seeds, accuracy at share of the dense layer's synaptic operations, routing included: event digits 91.4 "
        "+- 1.0 % at 52 % (dense 91.2 +- 1.2 %), speech-like events 74.9 +- 1.0 % at 52 % (dense 72.0 +- 1.4 %)",
        "in part",
        "operations, not time, and blocks of neurons as experts",
    ),
)  # fmt: skip

"""What paper 125 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "BLaST: High Performance Inference and Pretraining using BLock Sparse Transformers"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        125, TITLE, "modules.structured.block_sparse.BlockSparseTraining",
        "modules/test_structured.py::test_block_sparse_training_keeps_exactly_its_blocks_and_regrows_only_inactive_ones",
        "54_structured_weights.py", "blocks are pruned and regrown to 95 % sparsity at little loss",
        "event digits, 2 x 128 LIF neurons, 90 % of the 8 x 8 blocks pruned, 3 seeds: 95.4 +- 0.5 % (blocks drawn once "
        "95.2 +- 0.5, dense 97.1 +- 0.5 %)", "in part",
        "a small network; choosing blocks gains no more than the spread over drawing them",
    ),
    Claim(
        125, TITLE, "modules.structured.sparse_linear.SparseLinear",
        "kernels/test_sparse_products.py::test_spikes_on_a_grid_give_the_dense_product_to_the_bit", "",
        "a block-sparse kernel up to 16.7 times as fast as the dense MLP at 95 %, memory 3.12 times smaller",
        "1,024 x 1,024, 95 % of the 16 x 16 blocks missing, spikes of 5 %, one CPU thread, against torch: one vector "
        "28 times as fast, 2,048 vectors 7.2 times, forward and backward 5.7 times, memory 20 times smaller; at 90 % "
        "26, 4.4 and 3.4 times (benchmarks/sparse_products.py, processor time)", "in part",
        "one layer on one CPU core, spikes as input; the fused MLP kernel is not here",
    ),
)  # fmt: skip

"""What paper 140 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "CoSpaDi: Compressing LLMs via Calibration-Guided Sparse Dictionary Learning"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        140, TITLE, "modules.structured.dictionary.DictSparse",
        "modules/test_structured.py::test_dictionaries_beat_the_svd_on_subspaces_and_not_on_low_rank", "",
        "a dictionary with sparse codes, fitted to outputs on calibration data, loses less than the SVD at equal size",
        "64 x 128, 30 % smaller, spikes as inputs, 3 seeds, error of the outputs after 8 rounds: weights of 8 "
        "subspaces of rank 6 0.076, SVD 0.217; weights of low rank 0.0058, SVD 0.0066", "reproduced",
    ),
    Claim(
        140, TITLE, "modules.structured.dictionary.DictSparse",
        "modules/test_structured.py::test_forward_backward_and_event_driven_run_are_those_of_the_dense_matrix", "",
        "Llama3-8B, 20 % smaller: accuracy 61.8 against 54.1 of SVD-LLM, perplexity 20 against 41",
        "", "not tried", "the model is out of reach here",
    ),
)  # fmt: skip

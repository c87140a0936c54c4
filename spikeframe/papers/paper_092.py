"""What paper 92 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Superposed Episodic and Semantic Memory via Sparse Distributed Representation"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        92, TITLE, "modules.sparsey.Sparsey",
        "modules/test_sparsey.py::test_similar_inputs_get_similar_codes_and_recall_survives_a_quarter_exchanged",
        "33_sparsey.py",
        "an item is stored in one trial, and more similar inputs get codes that share more winners",
        "20 of 256 inputs, 24 modules of 8: up to 40 items come back whole after one presentation (with a quarter of "
        "the inputs exchanged 98.7 +- 0.6 % of the winners), 94 % of the winners at 80 items, 59 % at 320; a new "
        "item's familiarity rises from 0.08 to 1.00 with what is stored", "in part",
        "above some 40 items new inputs look familiar and share codes; the paper's larger fields, freezing and "
        "hierarchy would hold more",
    ),
    Claim(
        92, TITLE, "modules.sparsey.Sparsey",
        "modules/test_sparsey.py::test_a_sequence_shown_once_plays_on_from_its_first_frame", "33_sparsey.py",
        "sequences are stored in one trial and recalled from their beginning",
        "four sequences of ten frames without error from their first frames, 92 % of the winners at eight, 46 % at 16",
        "reproduced",
    ),
    Claim(
        92, TITLE, "modules.sparsey.Sparsey",
        "modules/test_sparsey.py::test_operations_do_not_depend_on_what_is_stored", "33_sparsey.py",
        "storage and retrieval take a time that does not grow with the number of stored items",
        "3,840 weights read for an item, whether 1 or 320 are stored", "reproduced",
    ),
    Claim(
        92, TITLE, "modules.sparsey.Sparsey",
        "modules/test_sparsey.py::test_the_compiled_kernel_equals_the_plain_one", "",
        "some 90 % on a part of MNIST and 67 % on Weizmann with several levels of fields", "", "not tried",
        "one field is here, no hierarchy of them",
    ),
)  # fmt: skip

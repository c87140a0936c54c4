"""What paper 96 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Gated Linear Attention Transformers with Hardware-Efficient Training"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        96, TITLE, "modules.attention.linear.GLA",
        "modules/test_attention_recipes.py::test_chunks_events_and_recurrence_are_one_thing",
        "47_linear_mixing.py",
        "a chunked form for training, a recurrent one for inference, of linear cost; competitive with transformers "
        "of 1.3 billion parameters",
        "chunks equal the recurrence to 1e-12 in float64, events to 1e-5 in float32; about 1,570 operations a token"
        " at 64 and at 2048 tokens of 64 features; spoken digits, 3 seeds: 93.7 +- 1.0 % against 93.9 +- 1.0 % of "
        "all pairs, with 9.8 times the operations at 50 tokens",
        "in part", "the forms are reproduced; language models are out of reach here",
    ),
)  # fmt: skip

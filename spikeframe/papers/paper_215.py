"""What paper 215 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Informed Routing in LLMs: Smarter Token-Level Computation for Faster Inference"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        215, TITLE,
        "modules.moe.recipes.informed.informed",
        "modules/moe/test_informed.py::test_informed_forecast_beats_skipping_or_is_silent",
        "",
        "a light forecast of skipped units keeps accuracy at 25 to 70 % sparsity",
        "a linear unit of 16 inputs and 6 outputs, rank 4: error 0.006 on new rows, where skipping has 0.069; a "
        "forecast that is worse than skipping is silenced",
        "in part",
        "one layer's currents; forecasts fitted in closed form",
    ),
    Claim(
        215, TITLE,
        "modules.moe.recipes.informed.Informed",
        "modules/moe/test_informed.py::test_informed_keeps_its_budget",
        "",
        "matches fully fine-tuned baselines with half of the training time",
        "3 seeds, accuracy at share of the dense layer's synaptic operations, routing included: event digits 87.0 "
        "+- 1.6 % at 56 % (dense 91.2 +- 1.2 %), speech-like events 72.1 +- 0.6 % at 52 % (dense 72.0 +- 1.4 %)",
        "in part",
        "accuracy kept on the speech-like events, not on the digits; no fine-tuned baseline, training time not "
        "compared",
    ),
)  # fmt: skip

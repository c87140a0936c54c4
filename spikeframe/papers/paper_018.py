"""What paper 18 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Training for temporal sparsity in deep neural networks, application in video processing"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        18, TITLE, "modules.delta_activation.DeltaActivation",
        "modules/test_delta.py::test_the_penalty_widens_the_step_and_thins_the_changes", "",
        "activations almost 3 times sparser over time at little loss (ResNet-50 on UCF101)",
        "400 rectified random walks, penalty alone, 60 steps of descent: step 0.10 to 0.51, changes 39 to 21 %",
        "in part", "the mechanism only: the network and the videos are out of reach here",
    ),
    Claim(
        18, TITLE, "modules.delta.DeltaLinear",
        "modules/test_delta.py::test_event_driven_equals_clocked_to_the_bit_where_sums_are_exact",
        "19_delta_activations.py", "work follows the changes: almost 3 times fewer operations at little loss",
        "digits through an event camera, 64 units, 3 seeds: of the dense layers' work skipping zeros leaves 45 %, "
        "changes above 0.2 22 %, above 0.8 10 %, at 90.2, 90.4 and 89.8 +- 0.5 %; learnt steps 40 %",
        "in part", "fixed thresholds do it here; the penalties tried were too weak to widen the learnt steps",
    ),
    Claim(
        18, TITLE, "modules.delta_events.EventDrivenConv2d",
        "modules/test_delta.py::test_event_driven_equals_clocked_to_the_bit_where_sums_are_exact", "",
        "inference on changes equals dense inference",
        "to the bit where sums are exact, else within 2^-53 per change", "reproduced",
    ),
)  # fmt: skip

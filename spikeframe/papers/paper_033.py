"""What paper 33 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "Spiking diffusion models"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        33, TITLE, "adapters.conversion.SignedIF",
        "adapters/test_conversion.py::test_taking_spikes_back_mends_what_uneven_input_does", "60_ann_to_snn.py",
        "denoisers converted with 2-bit activations and signed spikes: FID 51.18 on CIFAR-10, 29.54 after fine-tuning",
        "10,000 neurons of three levels: counts equal the quantised rectifier under constant input; under uneven "
        "spikes 7.7 % differ, signed 2.9 %, after six more steps 5.0 % and none",
        "in part", "the mechanism only: no diffusion model was trained here",
    ),
    Claim(
        33, TITLE, "adapters.conversion.guided",
        "adapters/test_conversion.py::test_guidance_scales_thresholds_as_if_input_were_scaled_the_other_way", "",
        "thresholds moved by some tenths of a per cent while sampling improve the FID by up to 16.7 %, untrained",
        "scaling thresholds by 2 is scaling the input by 1/2, to the bit",
        "in part", "an option of every model; its effect on pictures was not measured",
    ),
)  # fmt: skip

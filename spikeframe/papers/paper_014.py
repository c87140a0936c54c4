"""What paper 14 claims and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "UltraLIF: Fully Differentiable Spiking Neural Networks via Ultradiscretization and Max-Plus ..."

CLAIMS: tuple[Claim, ...] = (
    Claim(
        14, TITLE, "neurons.ultralif.UltraLIF",
        "neurons/test_ultralif.py::test_without_reset_the_error_against_the_max_plus_limit_grows_as_a_logarithm", "",
        "converges to the classical LIF as the temperature falls",
        "converges to a max-plus LIF, error at most eps log(t + 1) without reset; form='additive' converges to the LIF",
        "not reproduced", "the limit of the published step is not the summing LIF, whatever the abstract says",
    ),
    Claim(
        14, TITLE, "neurons.ultralif.UltraLIF", "neurons/test_ultralif.py::test_gradients_equal_finite_differences", "",
        "gradients of what is computed, bounded by 1 / 4 eps, without a surrogate",
        "equal to finite differences in float64, within the bound", "reproduced",
    ),
    Claim(
        14, TITLE, "neurons.ultralif.UltraLIF", "neurons/test_ultralif.py::test_the_published_traces_are_met",
        "15_ultralif.py", "above its LIF at one time step: N-MNIST 94.14 against 90.23 %, SHD 51.24 against 40.02 %",
        "digits through an event camera, 64 hidden neurons, 3 seeds: LIF 97.2 +- 0.3 %, UltraLIF 95.4 +- 0.1 %, at 2.2 "
        "times the energy; additive form 97.2 +- 0.1 %, run as a LIF without more training 97.1 +- 0.4 %",
        "not reproduced", "other data, 31 time steps, and a LIF that spikes (the published baseline is soft)",
    ),
    Claim(
        14, TITLE, "neurons.ultradlif.UltraDLIF",
        "neurons/test_ultradlif.py::test_the_librarys_numbers_on_a_ring_of_four_are_met", "18_models_compared.py",
        "N-MNIST at one time step: UltraDLIF 94.14 %, the best baseline 90.23 %",
        "the first 1,000 recordings of N-MNIST (200 of them held out), 31 steps, penalty 0.1, 3 seeds: LIF 91.0 +- 0.7 "
        "%, UltraLIF 87.3 +- 0.5 %, additive 91.0 +- 0.4 %, UltraDLIF 90.8 +- 0.8 %; built-in digits 97.0, 94.0, 96.8, "
        "97.4 %; 1.4 to 2.2 times the LIF's energy",
        "not reproduced", "a sixtieth of the recordings, and many steps; a LIF that spikes is as good",
    ),
)  # fmt: skip

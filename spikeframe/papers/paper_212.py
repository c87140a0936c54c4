"""What paper 212 asks for and what became of it here."""

from spikeframe.papers.claim import Claim

TITLE = "A brain basis of dynamical intelligence for AI and computational neuroscience"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        212, TITLE, "analysis.phase_amplitude.phase_amplitude_coupling",
        "analysis/test_rhythms.py::test_nested_rhythms_are_found_in_the_order_of_their_depth", "40_nested_rhythms.py",
        "nested oscillations are a layer of computation: a fast rhythm's amplitude depends on a slow one's phase (a "
        "perspective; no figure of its own)",
        "400 neurons, gamma of 50 Hz under a theta of 8 Hz: modulation index 0.089, 32 sd above that of shifted "
        "amplitudes; with a steady current, gamma of 37 Hz, 0.0006 and 3",
        "reproduced",
    ),
    Claim(
        212, TITLE, "analysis.kreuz.spike_distance",
        "analysis/test_spike_trains.py::test_spike_distance_and_synchronization_are_pyspikes", "40_nested_rhythms.py",
        "synchrony of spikes is a layer of computation",
        "SPIKE-distance, SPIKE-synchronization (PySpike's to 1e-9), van Rossum and Victor-Purpura (elephant's), "
        "locking, correlation, chi",
        "reproduced",
    ),
    Claim(
        212, TITLE, "analysis.branching.multistep_branching",
        "analysis/test_populations.py::test_a_subsampled_process_shows_its_branching_ratio_in_many_steps_only", "",
        "criticality: branching ratios and avalanches; a ratio estimated step by step fails on a part of the neurons",
        "a process of 0.95 seen in a tenth of its spikes: 0.95 within 0.02 over many steps, below 0.6 over one; "
        "avalanches of a critical process fall with exponent 3/2 within the fit's error",
        "reproduced",
    ),
    Claim(
        212, TITLE, "analysis.phases.circular_linear", "analysis/test_rhythms.py::test_phase_precession_is_found", "",
        "sequences: phase precession, replay, rank orders", "phase precession is found by circular-linear correlation",
        "in part", "no sequence circuit, no replay decoding, no rank-order correlation yet",
    ),
)  # fmt: skip

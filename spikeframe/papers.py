"""The papers whose methods are here: object, test and example of each claim, the published figure and ours.

Every row names what it rests on; `resolved` imports the object and finds test and example, so that a row cannot outlive
them. Numbers are those of the list of papers; figures of ours come from the example or test of the row.
"""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from spikeframe.errors import ConfigError, ParameterError, UnknownNameError, unknown_name

VERDICTS = ("reproduced", "in part", "not reproduced", "not tried")
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Claim:
    """One claim of a paper and what became of it here.

    Attributes:
        number: of the paper.
        title: of the paper.
        object: what implements it, by import path below ``spikeframe``.
        test: ``file::function`` below ``tests``.
        example: file below ``examples``; empty if there is none.
        claim: what is published.
        measured: what came out here; empty if it was not tried.
        verdict: one of `VERDICTS`.
        why: where the two differ, or why it was not tried.
    """

    number: int
    title: str
    object: str
    test: str
    example: str
    claim: str
    measured: str
    verdict: str
    why: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise unknown_name("verdict", self.verdict, VERDICTS)
        if (self.verdict == "not tried") != (not self.measured) or (self.verdict != "reproduced" and not self.why):
            raise ParameterError(
                f"paper {self.number}: {self.verdict!r} needs a figure of ours, or the reason why not."
            )


ULTRA = "UltraLIF: Fully Differentiable Spiking Neural Networks via Ultradiscretization and Max-Plus ..."
ELM = "The Expressive Leaky Memory Neuron: an Efficient and Expressive Phenomenological Neuron Model ..."
SDR = "How do neurons operate on sparse distributed representations? A mathematical theory ..."
DELTA = "Training for temporal sparsity in deep neural networks, application in video processing"
DELAYS = "Learning heterogeneous delays in a layer of spiking neurons for fast motion detection"
BRAIN = "SpikingBrain Technical Report: Spiking Brain-inspired Large Models"
STOCHASTIC = "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation"
V1 = "Beyond l1 sparse coding in V1"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        11, V1, "neurons.lca.LCA",
        "neurons/test_lca.py::test_exact_relaxation_finds_the_support_that_soft_thresholds_bias", "",
        "l0-like penalties give sparser codes at the same error than l1",
        "3 of 128 columns in 64 dimensions, 100 signals: CEL0 (lambda 0.03) finds every support, error of the "
        "coefficients 0.008; soft (0.1) too, error 0.103; soft (0.06) finds 94 %, error 0.062",
        "in part", "on codes that are known, not on photographs; receptive fields were not learnt",
    ),
    Claim(
        14, ULTRA, "neurons.ultralif.UltraLIF",
        "neurons/test_ultralif.py::test_without_reset_the_error_against_the_max_plus_limit_grows_as_a_logarithm", "",
        "converges to the classical LIF as the temperature falls",
        "converges to a max-plus LIF, error at most eps log(t + 1) without reset; form='additive' converges to the LIF",
        "not reproduced", "the limit of the published step is not the summing LIF, whatever the abstract says",
    ),
    Claim(
        14, ULTRA, "neurons.ultralif.UltraLIF", "neurons/test_ultralif.py::test_gradients_equal_finite_differences", "",
        "gradients of what is computed, bounded by 1 / 4 eps, without a surrogate",
        "equal to finite differences in float64, within the bound", "reproduced",
    ),
    Claim(
        14, ULTRA, "neurons.ultralif.UltraLIF", "neurons/test_ultralif.py::test_the_published_traces_are_met",
        "15_ultralif.py", "above its LIF at one time step: N-MNIST 94.14 against 90.23 %, SHD 51.24 against 40.02 %",
        "digits through an event camera, 64 hidden neurons, 3 seeds: LIF 97.2 +- 0.3 %, UltraLIF 95.4 +- 0.1 %, at 2.2 "
        "times the energy; additive form 97.2 +- 0.1 %, run as a LIF without more training 97.1 +- 0.4 %",
        "not reproduced",
        "other data, 31 time steps, and a LIF that spikes (the published baseline is soft); N-MNIST was not tried",
    ),
    Claim(
        18, DELTA, "modules.delta_activation.DeltaActivation",
        "modules/test_delta.py::test_the_penalty_widens_the_step_and_thins_the_changes", "",
        "activations almost 3 times sparser over time at little loss (ResNet-50 on UCF101)",
        "400 rectified random walks, penalty alone, 60 steps of descent: step 0.10 to 0.51, changes 39 to 21 %",
        "in part", "the mechanism only: the network and the videos are out of reach here",
    ),
    Claim(
        18, DELTA, "modules.delta_events.EventDrivenConv2d",
        "modules/test_delta.py::test_event_driven_equals_clocked_to_the_bit_where_sums_are_exact", "",
        "inference on changes equals dense inference",
        "to the bit where sums are exact, else within 2^-53 per change", "reproduced",
    ),
    Claim(
        30, STOCHASTIC, "learning_rules.stochastic.reinforce",
        "learning_rules/test_stochastic.py::test_the_stated_baseline_has_the_least_variance", "",
        "REINFORCE is unbiased for any baseline and has a baseline of least variance",
        "three units: variance 3.00, 3.41, 2.48 without and 0.47, 0.40, 0.49 with it", "reproduced",
    ),
    Claim(
        30, STOCHASTIC, "learning_rules.conditional.ConditionalLinear",
        "learning_rules/test_stochastic.py::test_the_penalty_is_the_divergence_from_the_target_and_training_reaches_it",
        "", "four estimators train a network with a tenth of its gates open on MNIST, the noisy rectifier and "
        "straight-through best", "", "not tried", "the gates are here and reach their target; MNIST was not run",
    ),
    Claim(
        37, SDR, "modules.sdr.false_positive", "modules/test_sdr.py::test_false_positives_are_as_published",
        "13_active_dendrites.py", "false positives 4.0e-21 (n 10000, a 64, s 24, theta 12), 0.63 (n 500, a 256)",
        "all twelve published values to five digits", "reproduced",
    ),
    Claim(
        37, SDR, "modules.active_dendrites.ActiveDendrites",
        "modules/test_active_dendrites.py::"
        "test_stored_patterns_are_recognised_and_random_ones_are_not_as_the_theory_says",
        "13_active_dendrites.py",
        "500 patterns of 7 in 100 cells: 0.1346 of random ones match at theta 4, 0.00285 at 5 (simulated)",
        "0.1355 +- 0.0015 and 0.0028 +- 0.0009 (3 seeds of 5000); theory 0.1347 and 0.0028", "reproduced",
    ),
    Claim(
        209, ELM, "modules.branch_elm.BranchELM", "modules/test_elm.py::test_parameters_are_as_many_as_published",
        "12_elm.py", "4,601 to 54,002 parameters for 1 to 100 memory units", "the same fourteen numbers", "reproduced",
    ),
    Claim(
        209, ELM, "modules.elm.ELM", "modules/test_elm.py::test_a_cue_is_kept_by_slow_memories_and_lost_by_fast_ones",
        "12_elm.py",
        "a cortical cell's spikes: AUC 0.944 with 1 memory unit, 0.958 with 2, 0.976 with 5, 0.988 with 10",
        "a two-layer dendritic LIF's spikes, 3 seeds: AUC 0.794, 0.792 +- 0.023, 0.824, 0.835, 0.839 with 1, 2, 3, 5, "
        "10; its soma 62, 84, 89, 90, 90 % explained",
        "in part",
        "the ordering holds within the spread of seeds, the levels do not compare: another cell, 200 training steps",
    ),
    Claim(
        209, ELM, "datasets.shd_adding.SHDAdding",
        "datasets/test_shd_adding.py::test_a_recording_is_two_words_and_its_label_their_sum", "",
        "SHD-Adding and the long-range arena are learnt by single neurons", "", "not tried",
        "the task is generated from sets of SHD's layout; no training on it was run",
    ),
    Claim(
        210, BRAIN, "neurons.adaptive_threshold_if.AdaptiveThresholdIF",
        "modules/test_spike_coding.py::test_spikes_of_gaussian_activations_are_as_sparse_as_described", "",
        "1.13 spikes a value, 69.2 % of the places of a window silent (activations of the 7B model)",
        "Gaussian activations: 1.30 spikes a value, 74.0 % silent, 95.4 % of counts at most 7", "in part",
        "the model's activations are not at hand; the report has 94.1 % of counts at most 7",
    ),
    Claim(
        210, BRAIN, "modules.spike_coding.encode",
        "modules/test_spike_coding.py::test_every_count_of_8_bits_comes_back", "",
        "binary, ternary and bitwise spikes carry counts without loss", "every count of 8 bits, and random ones of 32",
        "reproduced",
    ),
    Claim(
        220, DELAYS, "modules.motif.MotifDetector",
        "modules/test_motif.py::test_motion_is_learned_with_the_polarity_flip_and_the_kernels_follow_it",
        "14_motion_delays.py", "36 motions of photographs on 128 x 128 pixels: about 91 % right (chance 2.8 %)",
        "4 motions of textures on a ring of 32 pixels, 3 seeds: 100 % right; without exchanged polarities "
        "25.0 +- 4.5 % (chance 25 %)", "in part",
        "a small task in one dimension, with textures in place of photographs",
    ),
    Claim(
        220, DELAYS, "modules.motif.MotifDetector.pruned",
        "modules/test_motif.py::test_pruning_keeps_the_largest_entries", "14_motion_delays.py",
        "31 times fewer synapses near peak accuracy, half of it at 670 times fewer; shorter kernels lose it sooner",
        "10 times fewer synapses: 94.7 +- 7.4 %; 33 times: 31.9 %; delays up to 2 of 9 ms: 57.5 +- 4.1 %", "in part",
        "the kernel has 1,224 entries, not 437,000: there is less to prune",
    ),
)  # fmt: skip


def resolved(claim: Claim, root: Path = ROOT) -> Claim:
    """Return a claim whose object, test and example are there.

    Args:
        claim: one row.
        root: of the source tree; where it has no tests, as in an installed package, files are not looked for.

    Raises:
        ConfigError: the object cannot be imported, or test or example is missing.
    """
    module, *names = claim.object.split(".")
    path = f"spikeframe.{module}"
    try:
        found = importlib.import_module(path)
        for name in names:
            if not hasattr(found, name):
                importlib.import_module(f"{path}.{name}")
            found = getattr(found, name)
            path += f".{name}"
    except (ImportError, AttributeError, UnknownNameError) as error:
        raise ConfigError(f"paper {claim.number}: object {claim.object} is not there ({error}).") from None
    if not (root / "tests").is_dir():
        return claim
    file, _, function = claim.test.partition("::")
    test = root / "tests" / file
    if not test.is_file() or f"def {function}(" not in test.read_text(encoding="utf-8"):
        raise ConfigError(f"paper {claim.number}: test {claim.test} is not there.")
    if claim.example and not (root / "examples" / claim.example).is_file():
        raise ConfigError(f"paper {claim.number}: example {claim.example} is not there.")
    return claim


def table(numbers: Iterable[int] = ()) -> list[dict[str, object]]:
    """Return the rows of some papers, or of all, each with what it rests on checked.

    Args:
        numbers: of the papers; all if empty.

    Raises:
        UnknownNameError: no paper has that number.
        ConfigError: a row's object, test or example is not there.
    """
    wanted, known = set(numbers), {claim.number for claim in CLAIMS}
    for number in wanted - known:
        raise unknown_name("paper", number, map(str, sorted(known)))
    return [asdict(resolved(claim)) for claim in CLAIMS if not wanted or claim.number in wanted]


def described(rows: list[dict[str, object]]) -> str:
    """Return rows as text, one block per paper.

    Args:
        rows: as `table` returns them.
    """
    lines: list[str] = []
    before = None
    for row in rows:
        if row["number"] != before:
            lines += ["", f"[{row['number']}] {row['title']}"]
            before = row["number"]
        verdict = f"{row['verdict']}: {row['why']}" if row["why"] else f"{row['verdict']}"
        shown = {"published": row["claim"], "ours": row["measured"] or "-", "verdict": verdict,
                 "object": f"spikeframe.{row['object']}", "test": f"tests/{row['test']}"}  # fmt: skip
        if row["example"]:
            shown["example"] = f"examples/{row['example']}"
        for key, text in shown.items():
            lead = f"  {'- ' if key == 'published' else '  '}{key:10}"
            lines += textwrap.wrap(str(text), 118, initial_indent=lead, subsequent_indent=" " * 14,
                                   break_long_words=False, break_on_hyphens=False)  # fmt: skip
    verdicts = [str(row["verdict"]) for row in rows]
    counted = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts)
    return "\n".join([*lines[1:], "", f"{len({row['number'] for row in rows})} papers, {len(rows)} claims: {counted}."])

"""Motif detector and its motion task: dense equals event by event, motion is learned, and only with the flip."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import spikeframe as sf
from spikeframe.datasets.motion import MotionTask, event_stream
from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, TimeGridError
from spikeframe.modules.motif import MotifDetector, evidence, motif_loss, motif_spikes

RING = MotionTask(directions=2, speeds=(1.0, 2.0), height=1, width=32, steps=40, segment=math.inf)


def dyadic(detector, seed=1):
    with torch.no_grad():
        k = torch.randint(-32, 33, detector.weight.shape, generator=torch.Generator().manual_seed(seed))
        detector.weight.copy_(k / 64)
    return detector


def events(t, b, h, w, density=0.1, seed=0):
    return (torch.rand(t, b, 2, h, w, generator=torch.Generator().manual_seed(seed)) < density).float()


def arrivals(x, synapses, classes):
    """Every event arrives at its targets after its delays."""
    t, b = x.shape[:2]
    out = torch.zeros(t, b, classes * x.shape[3] * x.shape[4])
    flat = x.flatten(2)
    for s, target, weight, delay in zip(*synapses, strict=True):
        d = round(delay / 0.5)
        out[d:, :, int(target)] += weight * flat[: max(t - d, 0), :, int(s)]
    return out.reshape(t, b, classes, *x.shape[3:])


@pytest.mark.exact
@pytest.mark.parametrize("mask", ["none", "disc", "cone"])
@pytest.mark.parametrize(("t", "h", "w"), [(0, 3, 4), (1, 1, 1), (7, 5, 4)])
def test_the_dense_form_is_the_event_form(mask, t, h, w):
    x = events(t, 2, h, w, density=0.3)
    plain = dyadic(MotifDetector(3, 4, (3, 5), dt=0.5, mask=mask, polarity_flip=False))
    once = arrivals(x, plain.synapses(h, w), 3)
    assert torch.equal(plain(x)[0], once)
    both = dyadic(MotifDetector(3, 4, (3, 5), dt=0.5, mask=mask))
    assert torch.equal(both(x)[0], torch.maximum(once, arrivals(x, plain.synapses(h, w, flipped=True), 3)))


@pytest.mark.exact
@pytest.mark.parametrize("cut", [0, 1, 4])
def test_a_run_cut_in_two_is_the_run(cut):
    detector = dyadic(MotifDetector(2, 5, (3, 3)))
    x = events(9, 2, 6, 5)
    whole, end = detector(x)
    first, state = detector(x[:cut])
    second, after = detector(x[cut:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(after.past, end.past)


@pytest.mark.exact
def test_exchanging_polarities_changes_nothing_and_moving_the_events_moves_the_answer():
    detector = dyadic(MotifDetector(2, 3, (3, 3)))
    x = events(12, 1, 9, 9)
    x[:, :, :, :2] = x[:, :, :, -2:] = x[..., :2] = x[..., -2:] = 0.0  # nothing near the border
    out = detector(x)[0]
    assert torch.equal(detector(x.flip(2))[0], out)
    moved = x.roll((2, 1, -1), (0, 3, 4))
    moved[:2] = 0.0
    assert torch.equal(detector(moved)[0][3:, ..., 1:, :-1], out.roll((2, 1, -1), (0, 3, 4))[3:, ..., 1:, :-1])


def test_gradients_are_derivatives():
    torch.manual_seed(0)
    detector = MotifDetector(2, 2, (3, 1), mask="disc").double()
    x = events(4, 1, 3, 2, density=0.5).double().requires_grad_()
    parameters = dict(detector.named_parameters())

    def run(x, *values):
        return torch.func.functional_call(detector, dict(zip(parameters, values, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(run, (x, *parameters.values()), fast_mode=True)


@pytest.mark.exact
@pytest.mark.filterwarnings("ignore:.* is less than a step")
def test_the_simulator_gives_the_spikes_of_the_clocked_detector():
    """Detectors as LIF neurons that forget within a step; the threshold stands for the bias."""
    detector = dyadic(MotifDetector(2, 3, (3, 3), mask="cone", polarity_flip=False))
    x = events(30, 1, 4, 5, density=0.3)
    wanted = detector(x)[0][:, 0].flatten(1) >= 0.75
    net = sf.Network()
    steps, ids = x[:, 0].flatten(1).nonzero().T.numpy()
    source = net.population("events", 2 * 20, sf.SpikeSource(steps + 1.0, ids))
    forgetful = sf.neurons.LIF(tau_m=1e-3, v_th=0.75, reset="value", receptors={"in": sf.neurons.Delta()})
    target = net.population("detectors", 2 * 20, forgetful)
    s = detector.synapses(4, 5)
    net.connect(source, target, sf.Pairs(s.source, s.target), weight=s.weight, delay=s.delay)
    net.record(target, "spikes")
    found = sf.Simulator(net, dt=1.0).run(30.0).spikes["detectors"]
    pairs = zip(np.rint(found.times).astype(int).tolist(), found.ids.tolist(), strict=True)
    assert set(pairs) == {(int(t) + 1, int(i)) for t, i in wanted.nonzero()}
    assert 10 < int(wanted.sum()) < wanted.numel() / 2


def learned(polarity_flip, iterations=25):
    """Train on a ring; return detector, field accuracy and loss on other samples."""
    x, labels = RING.batch(0, 128)
    torch.manual_seed(0)
    detector = MotifDetector(4, 9, (1, 17), mask="none", polarity_flip=polarity_flip)
    optimiser = torch.optim.Adam(detector.parameters(), lr=3e-2)
    for i in range(iterations):
        part = slice(16 * (i % 8), 16 * (i % 8) + 16)
        loss = motif_loss(detector(x[:, part])[0][10:], labels[10:, part])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        x, labels = RING.batch(1000, 48)
        logits = detector(x)[0][10:]
        right = evidence(logits).argmax(-1) == labels[10:]
    return detector, float(right.double().mean()), float(motif_loss(logits, labels[10:]))


def test_motion_is_learned_with_the_polarity_flip_and_the_kernels_follow_it():
    """Chance is 0.25; the entropy of the prior 0.562."""
    detector, accuracy, loss = learned(True)
    assert accuracy > 0.95
    assert loss < 0.4
    kernel = detector.kernel().detach()
    contrast = (kernel[:, 1] - kernel[:, 0])[:, :, 0].abs()  # [classes, delays, columns]
    column = torch.arange(17.0) - 8
    for k, (speed, _) in enumerate(RING.velocities):
        centre = (contrast[k] ** 4 * column).sum(-1) / (contrast[k] ** 4).sum(-1)
        delay = torch.arange(1.0, 10.0)
        usable = (delay * abs(speed)) <= 8
        slope = np.polyfit(delay[usable].numpy(), centre[usable].numpy(), 1)[0]
        assert np.sign(slope) == np.sign(speed)


def test_without_the_flip_nothing_is_learned():
    _, accuracy, loss = learned(False)
    assert accuracy < 0.5
    assert loss > 0.5


def test_pruning_keeps_the_largest_entries():
    detector = MotifDetector(2, 3, (3, 3), mask="disc")
    full = detector.kernel().detach()
    for keep in (0, 1, 7, full.numel()):
        left = detector.pruned(keep).kernel().detach()
        kept = left != 0
        assert int(kept.sum()) == min(keep, int((full != 0).sum()))
        assert torch.equal(left[kept], full[kept])
        if 0 < keep < int((full != 0).sum()):
            assert float(left[kept].abs().min()) >= float(full[~kept].abs().max())


def test_one_detector_at_most_wins_at_a_place():
    logits = torch.randn(5, 2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    spikes = motif_spikes(logits, 0.5)
    assert torch.equal(spikes.sum(2), (logits.amax(2) > 0.5).float())
    assert bool((logits[spikes == 1] > 0.5).all())
    # A silent place has nothing but the biases, which may be equal.
    silent = motif_spikes(torch.zeros(2, 1, 4, 3, 3), -1.0)
    assert torch.equal(silent.sum(2), torch.ones(2, 1, 3, 3))


def test_the_cone_widens_with_the_delay_inside_the_disc():
    disc, cone = (MotifDetector(1, 7, (9, 5), mask=m).inside for m in ("disc", "cone"))
    sizes = cone.sum((1, 2))
    assert bool((cone <= disc).all())
    assert bool((sizes.diff() >= 0).all())
    assert torch.equal(cone[-1], disc[-1])
    assert cone[0, 4, 2] == 1
    assert disc[0, 0, 0] == 0


# The task.


@pytest.mark.exact
def test_a_sample_is_the_same_whoever_makes_it_and_when():
    task = MotionTask(height=12, width=9, steps=30)
    x, labels = task.batch(3, 4, seed=5)
    one, label = task.sample(5, seed=5)
    assert np.array_equal(x[:, 2].numpy(), one)
    assert np.array_equal(labels[:, 2].numpy(), label)
    assert not np.array_equal(task.sample(6, seed=5)[0], one)
    assert not np.array_equal(task.sample(5, seed=6)[0], one)


def test_events_move_with_their_velocity():
    """A texture that moves by whole pixels gives, once settled, the same events moved on."""
    task = MotionTask(directions=4, speeds=(1.0,), height=16, width=16, steps=40, segment=math.inf, threshold=0.3)
    for index in range(6):
        x, labels = task.sample(index)
        dx, dy = np.rint(task.velocities[labels[0]]).astype(int)
        moved = np.roll(x[20:-1], (dy, dx), (2, 3))
        assert (moved == x[21:]).mean() > 0.9
        assert (np.roll(x[20:-1], (-dy, -dx), (2, 3)) == x[21:]).mean() < 0.9
        assert 0.05 < x.mean() < 0.5


def test_segments_last_as_long_as_asked_and_classes_are_equally_likely():
    task = MotionTask(directions=2, speeds=(1.0, 2.0), height=1, width=2, steps=20000, segment=20.0)
    _, labels = task.sample(0)
    changes = (np.diff(labels) != 0).mean()
    assert changes == pytest.approx(0.75 / 20, rel=0.2)  # a new segment is of another class 3 times in 4
    assert np.bincount(labels, minlength=4) / labels.size == pytest.approx([0.25] * 4, abs=0.06)
    _, constant = RING.sample(1)
    assert len(set(constant.tolist())) == 1


def test_frames_become_a_sorted_stream_and_back():
    frames, _ = RING.sample(0)
    stream = event_stream(frames, RING.dt)
    assert stream.size == int(frames.sum())
    assert (np.diff(stream["t"]) >= 0).all()
    back = np.zeros_like(frames)
    back[stream["t"] // 1000, stream["p"], stream["y"], stream["x"]] = 1.0
    assert np.array_equal(back, frames)


@pytest.mark.fault
def test_bad_input_is_refused():
    for options, error in (
        ({"size": (4, 3)}, ParameterError), ({"size": (0, 3)}, ParameterError), ({"mask": "ring"}, ParameterError),
        ({"delays": 0}, ParameterError), ({"dt": 0.0}, TimeGridError), ({"delays": 2.5}, ParameterError),
    ):  # fmt: skip
        with pytest.raises(error):
            MotifDetector(2, **{"delays": 3, "size": (3, 3)} | options)
    detector = MotifDetector(2, 3, (3, 3))
    with pytest.raises(ShapeError, match=r"\[T, B, 2, H, W\]"):
        detector(torch.zeros(4, 1, 3, 5, 5))
    with pytest.raises(NonFiniteError):
        detector(torch.full((4, 1, 2, 5, 5), math.nan))
    with pytest.raises(ShapeError, match="labels"):
        motif_loss(torch.zeros(4, 1, 2, 5, 5), torch.zeros(3, 1, dtype=torch.int64))
    with pytest.raises(ParameterError, match="from 0 to 1"):
        motif_loss(torch.zeros(4, 1, 2, 5, 5), torch.full((4, 1), 2))
    with pytest.raises(ParameterError, match="keep"):
        detector.pruned(-1)
    for options, error in (
        ({"speeds": ()}, ParameterError), ({"speeds": (0.0,)}, ParameterError), ({"threshold": 0.0}, ParameterError),
        ({"threshold": math.nan}, NonFiniteError), ({"dt": -1.0}, TimeGridError), ({"segment": 0.1}, ParameterError),
        ({"segment": math.nan}, ParameterError), ({"directions": 0}, ParameterError), ({"cutoff": "x"}, DTypeError),
    ):  # fmt: skip
        with pytest.raises(error):
            MotionTask(**options)
    with pytest.raises(ParameterError, match="index"):
        RING.sample(-1)


def test_events_of_a_movie_carry_the_first_microsecond_of_their_step():
    frames = np.zeros((4, 2, 1, 3), np.float32)
    frames[1, 1, 0, 2] = frames[3, 0, 0, 0] = 1.0
    for dt in (0.001, 0.5):
        events = event_stream(frames, dt)
        assert events[["x", "t", "p"]].tolist() == [(2, round(1000 * dt), 1), (0, round(3000 * dt), 0)]

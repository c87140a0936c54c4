"""Sparsey: codes by familiarity, one-trial storage and recall, the compiled kernel beside the plain one."""

from __future__ import annotations

import numpy as np
import pytest

from spikeframe.errors import BackendError, DTypeError, NonFiniteError, ParameterError, ShapeError, UnknownNameError
from spikeframe.modules.sparsey import Sparsey


def items(count, inputs, active, seed=0):
    random = np.random.default_rng(seed)
    return [random.choice(inputs, active, replace=False) for _ in range(count)]


def replaced(item, inputs, how_many, seed):
    """The item with some of its active inputs exchanged for others."""
    random = np.random.default_rng(seed)
    kept = random.permutation(item)[how_many:]
    return np.concatenate([kept, random.choice(np.setdiff1d(np.arange(inputs), item), how_many, replace=False)])


@pytest.mark.exact
@pytest.mark.parametrize(
    ("inputs", "modules", "cells", "options"),
    [
        (50, 7, 3, {}),
        (64, 1, 2, {"powers": (2, 3), "gamma": 3, "floor": 0.0}),
        (40, 5, 8, {"active": 9, "backoff": 0.9, "freeze": 0.3}),
        (40, 9, 4, {"limits": (3, 10), "backoff": 0.5, "seed": 2**40 + 3}),
    ],
)
def test_the_compiled_kernel_equals_the_plain_one(inputs, modules, cells, options):
    random = np.random.default_rng(1)
    pair = [Sparsey(inputs, modules, cells, backend=b, **options) for b in ("reference", "numba")]
    for learn, sequence in ((True, True), (True, False), (False, True), (True, True), (False, False)):
        frames = [random.choice(inputs, random.integers(0, 12), replace=False) for _ in range(12)]
        runs = [field.present(frames, learn=learn, sequence=sequence) for field in pair]
        np.testing.assert_array_equal(runs[0].codes, runs[1].codes)
        np.testing.assert_array_equal(runs[0].familiarity, runs[1].familiarity)
        assert runs[0].operations == runs[1].operations
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(pair[0].buffers(), pair[1].buffers(), strict=True))
    assert pair[1].filled.tolist() == [int(pair[1].u.sum()), int(pair[1].h.sum())]
    assert {-1} != set(runs[1].codes.ravel())


@pytest.mark.statistical
def test_an_unknown_input_gets_even_odds_and_a_known_one_its_code_with_the_stated_probability():
    modules, cells, draws = 24, 8, 400
    codes = np.concatenate(
        [Sparsey(100, modules, cells, seed=s).present([np.arange(20)], learn=True).codes for s in range(draws)]
    )
    counts = np.bincount(codes.ravel(), minlength=cells)
    expected = draws * modules / cells
    assert ((counts - expected) ** 2 / expected).sum() < 43  # chi^2 with 7 degrees of freedom, p = 3e-7
    known, steep = 0, 1e4  # a steep sigmoid is a step: the learnt cell weighs 1 + 100 K, the others 1
    for s in range(draws):
        field = Sparsey(100, modules, cells, seed=s, slope=steep)
        run = field.present([np.arange(20)] * 2, learn=True)
        assert run.familiarity.tolist() == [0.0, 1.0]
        known += (run.codes[0] == run.codes[1]).sum()
    p = (100 * cells + 1) / (100 * cells + cells)
    deviation = np.sqrt(p * (1 - p) * draws * modules)
    assert abs(known - p * draws * modules) < 5 * deviation


def test_similar_inputs_get_similar_codes_and_recall_survives_a_quarter_exchanged():
    shared = []
    for lost in (0, 2, 10, 20):
        overlap = []
        for s in range(20):
            field = Sparsey(256, active=20, seed=s)
            item = items(1, 256, 20, s)[0]
            stored = field.present([item], learn=True).codes
            other = field.present([replaced(item, 256, lost, 99 + s)], learn=True).codes
            overlap.append((stored == other).mean())
        shared.append(np.mean(overlap))
    assert shared[0] > 0.97 and shared[1] > 0.9
    assert shared == sorted(shared, reverse=True)
    assert abs(shared[-1] - 1 / 8) < 0.06  # chance
    recalled = []
    for s in range(10):
        field = Sparsey(256, active=20, seed=s)
        stored = items(10, 256, 20, s)
        codes = field.present(stored, learn=True).codes
        found = field.present([replaced(item, 256, 5, s) for item in stored], learn=False).codes
        recalled.append((found == codes).mean())
        assert (field.present(stored, learn=False).codes == codes).all()
    assert np.mean(recalled) > 0.98


def test_a_sequence_shown_once_plays_on_from_its_first_frame():
    field = Sparsey(200, 24, 8, active=20)
    frames = items(8, 200, 20)
    shown = field.present(frames, learn=True, sequence=True)
    played = field.play(frames[0], 8)
    np.testing.assert_array_equal(played.codes, shown.codes)
    assert (played.familiarity == 1.0).all()
    for frame, code in zip(frames, played.codes, strict=True):
        best = np.argsort(-field.imagine(code), kind="stable")[:20]
        assert set(best) == set(frame)


def test_recall_changes_nothing_but_the_count_of_frames():
    field = Sparsey(60, 5, 4)
    field.present(items(3, 60, 10), learn=True, sequence=True)
    before = field.u.clone(), field.h.clone(), field.filled.clone()
    field.present(items(3, 60, 10, 5), learn=False, sequence=True)
    assert all(bool((a == b).all()) for a, b in zip(before, (field.u, field.h, field.filled), strict=True))
    assert int(field.frames) == 6
    assert field.load == (float(field.u.double().mean()), float(field.h.double().mean()))


def test_the_same_frames_in_two_calls_give_the_same_codes_and_a_copy_goes_on_alike():
    frames = items(6, 60, 10)
    whole, cut, copy = (Sparsey(60, 5, 4) for _ in range(3))
    expected = whole.present(frames, learn=True, sequence=True).codes
    first = cut.present(frames[:3], learn=True, sequence=True).codes
    copy.load_state_dict(cut.state_dict())
    for field in (cut, copy):
        rest = field.present(frames[3:], learn=True, sequence=True, code=first[-1]).codes
        np.testing.assert_array_equal(np.concatenate([first, rest]), expected)


def test_operations_do_not_depend_on_what_is_stored():
    field = Sparsey(256, active=20)
    costs = []
    for count in (1, 50, 200):
        field.present(items(count, 256, 20, count), learn=True)
        costs.append(field.present(items(1, 256, 20), learn=True).operations)
    assert costs[0] == costs[1] == costs[2] == {"syn_ac": 20 * 24 * 8, "neu_exp": 24 * 8, "plast_upd": 20 * 24}


def test_a_frozen_field_learns_no_more_and_too_few_inputs_leave_it_silent():
    field = Sparsey(50, 4, 4, freeze=0.1, limits=(5, 20))
    field.present(items(50, 50, 10), learn=True)
    full = int(field.filled[0])
    assert 0.1 * field.u.numel() <= full < 0.1 * field.u.numel() + 40
    field.present(items(50, 50, 10, 1), learn=True)
    assert int(field.filled[0]) == full
    silent = field.present([np.arange(4), np.arange(21)], learn=False)
    assert (silent.codes == -1).all() and (silent.familiarity == 0).all()


def test_recall_backs_off_to_the_source_it_knows():
    strict, lenient = (Sparsey(200, active=20, backoff=b) for b in (0.0, 0.9))
    frames = items(2, 200, 20)
    for field in (strict, lenient):
        field.present(frames, learn=True)  # items, so that no previous code is known
    code = np.zeros(24, np.int64)
    assert strict.present(frames[:1], learn=False, sequence=True, code=code).familiarity[0] == 0.0
    assert lenient.present(frames[:1], learn=False, sequence=True, code=code).familiarity[0] == 1.0


@pytest.mark.fault
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"inputs": 0}, ParameterError),
        ({"modules": 2.5}, ParameterError),
        ({"cells": 1}, ParameterError),
        ({"active": 0}, ParameterError),
        ({"floor": 1.0}, ParameterError),
        ({"gamma": 0.5}, ParameterError),
        ({"chi": -1.0}, ParameterError),
        ({"slope": float("nan")}, NonFiniteError),
        ({"inflection": "x"}, DTypeError),
        ({"powers": (0, 1)}, ParameterError),
        ({"freeze": 0.0}, ParameterError),
        ({"backoff": 1.5}, ParameterError),
        ({"limits": (5, 3)}, ParameterError),
        ({"seed": -1}, ParameterError),
        ({"seed": 2**63}, ParameterError),
        ({"backend": "fortran"}, UnknownNameError),
    ],
)
def test_a_wrong_number_is_refused_by_name(change, error):
    with pytest.raises(error, match=next(iter(change))):
        Sparsey(**{"inputs": 30, **change})


@pytest.mark.fault
@pytest.mark.parametrize(
    ("frames", "options", "error", "words"),
    [
        ([[30]], {}, ParameterError, "frame 0"),
        ([[0], [-1]], {}, ParameterError, "frame 1"),
        ([[1, 1]], {}, ParameterError, "twice"),
        ([[0.5]], {}, DTypeError, "frame 0"),
        ([[[1]]], {}, ShapeError, "frame 0"),
        ([[1]], {"code": [0] * 24}, ParameterError, "sequence"),
        ([[1]], {"code": [0] * 3, "sequence": True}, ShapeError, "code"),
        ([[1]], {"code": [8] * 24, "sequence": True}, ParameterError, "code"),
    ],
)
def test_wrong_frames_and_codes_are_refused_by_name(frames, options, error, words):
    with pytest.raises(error, match=words):
        Sparsey(30).present(frames, learn=True, **options)


@pytest.mark.fault
def test_a_field_that_left_the_processor_says_so():
    with pytest.raises(BackendError, match="meta"):
        Sparsey(30).to("meta").present([[1]], learn=True)

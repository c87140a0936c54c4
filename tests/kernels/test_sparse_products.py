"""Sparse products: every format and kernel gives the bits of the plain sum, and of the dense product on a grid."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, UnknownNameError
from spikeframe.kernels import formats
from spikeframe.kernels.sparse_products import provider

PLAIN, FAST = provider("reference"), provider("numba")
NOTHING = np.zeros(0, np.float32)
#: Format, numbers, (post, pre): sizes that no vector divides, a single neuron, more than one group of rows.
CASES = [
    ("csr", {}, (37, 45)), ("csr", {}, (1, 16)), ("csc", {}, (33, 50)), ("condensed", {}, (19, 23)),
    ("nm", {"n": 2, "m": 4}, (21, 40)), ("nm", {"n": 1, "m": 5}, (16, 35)), ("bsr", {"h": 4, "w": 2}, (28, 18)),
    ("bsr", {"h": 16, "w": 16}, (48, 32)), ("bsr", {"h": 3, "w": 5}, (21, 35)), ("bsr", {"h": 20, "w": 1}, (40, 17)),
]  # fmt: skip


def pattern(name, form, shape, rng):
    """Return a mask that the format stores, with an empty row where it can have one."""
    post, pre = shape
    if name == "nm":
        n, m = form["n"], form["m"]
        return (rng.random((post, pre // m, m)).argsort(2).argsort(2) < n).reshape(shape)
    if name == "condensed":
        return rng.random(shape).argsort(1).argsort(1) < max(1, pre // 4)
    if name == "bsr":
        blocks = rng.random((post // form["h"], pre // form["w"])) < 0.4
        return blocks.repeat(form["h"], 0).repeat(form["w"], 1)
    mask = rng.random(shape) < 0.3
    mask[post // 2] = post == 1
    return mask


def stored(case, dtype=np.float32, grid=True, seed=0):
    name, form, shape = case
    rng = np.random.default_rng(seed)
    mask = pattern(name, form, shape, rng)
    weight = rng.integers(-64, 65, shape) / 64 if grid else rng.standard_normal(shape)
    dense = (weight * mask).astype(dtype)
    return formats.by_name(name).from_dense(dense, mask, **form), dense, mask, rng


def inputs(rng, columns, pre, dtype, graded):
    x = (rng.random((columns, pre)) < 0.2).astype(dtype)
    return x * rng.standard_normal(x.shape).astype(dtype) if graded else x


@pytest.mark.exact
@pytest.mark.parametrize("case", CASES, ids=str)
def test_spikes_on_a_grid_give_the_dense_product_to_the_bit(case):
    fmt, dense, _, rng = stored(case)
    bias = (rng.integers(-8, 9, dense.shape[0]) / 64).astype(np.float32)
    for columns in (1, 15, 300):
        x = inputs(rng, columns, dense.shape[1], np.float32, False)
        expected = x @ dense.T + bias
        panel = FAST.pack(x)
        assert panel.dtype == np.uint16
        assert np.array_equal(FAST.panels(fmt.runs(), panel, columns, bias), expected)
        assert np.array_equal(FAST.events(fmt.strips(), x, bias), expected)


@pytest.mark.exact
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_compiled_kernels_equal_the_plain_ones_to_the_bit(case, graded):
    for dtype, columns in ((np.float32, 270), (np.float64, 17)):
        fmt, dense, _, rng = stored(case, dtype, grid=False)
        x = inputs(rng, columns, dense.shape[1], dtype, graded)
        bias = rng.standard_normal(dense.shape[0]).astype(dtype)
        panel = PLAIN.pack(x)
        packed = FAST.pack(x)
        assert packed.dtype == panel.dtype == (dtype if graded else np.uint16)
        assert np.array_equal(packed, panel)
        expected = PLAIN.panels(fmt.runs(), panel, columns, bias)
        assert np.allclose(expected, x @ dense.T + bias, atol=1e-5)
        assert np.array_equal(FAST.panels(fmt.runs(), packed, columns, bias), expected)
        assert np.array_equal(PLAIN.events(fmt.strips(), x, bias), expected)
        assert np.array_equal(FAST.events(fmt.strips(), x, bias), expected)
        gradient = rng.standard_normal((columns, dense.shape[0])).astype(dtype)
        wide = FAST.numbers(gradient)
        assert np.array_equal(wide, PLAIN.numbers(gradient))
        runs = fmt.runs()
        slopes = PLAIN.support(runs, panel, wide)
        assert np.array_equal(FAST.support(runs, packed, wide), slopes)
        # On the support only, and equal to the dense gradient there.
        whole = fmt.of(runs.given_back(slopes)).to_dense()
        assert np.allclose(whole, (gradient.T @ x) * fmt.mask(), atol=1e-4)
        back = fmt.runs_by_source()
        backward = PLAIN.panels(back, wide, columns, NOTHING.astype(dtype))
        assert np.array_equal(FAST.panels(back, wide, columns, NOTHING.astype(dtype)), backward)
        assert np.allclose(backward, gradient @ dense, atol=1e-4)


@pytest.mark.exact
@pytest.mark.parametrize("case", [CASES[0], CASES[7]], ids=str)
def test_bits_do_not_depend_on_the_number_of_threads(case, monkeypatch):
    from spikeframe.kernels.numba import sparse_products, steps

    monkeypatch.setattr(sparse_products, "_ALONE", 0)
    monkeypatch.setattr(steps, "CORES", 3)
    fmt, dense, _, rng = stored(case, grid=False)
    x = inputs(rng, 600, dense.shape[1], np.float32, True)
    gradient = FAST.numbers(rng.standard_normal((600, dense.shape[0])).astype(np.float32))
    found = []
    for threads in (1, 2, 3):
        panel = FAST.pack(x, threads)
        found.append((
            FAST.panels(fmt.runs(), panel, 600, NOTHING, threads), FAST.events(fmt.strips(), x, NOTHING, threads),
            FAST.support(fmt.runs(), panel, gradient, threads),
        ))  # fmt: skip
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.exact
@pytest.mark.parametrize("case", CASES, ids=str)
def test_formats_keep_weights_and_support_on_the_way_through_each_other(case):
    fmt, dense, mask, _ = stored(case)
    fmt.validate()
    assert np.array_equal(fmt.to_dense(), dense)
    assert np.array_equal(fmt.mask(), mask)
    again = formats.from_arrays(fmt.name, fmt.shape, fmt.weight, fmt.arrays(), fmt.form)
    assert np.array_equal(again.to_dense(), dense)
    for name, form in (("csr", {}), ("csc", {}), (case[0], case[1])):
        other = fmt.to(name, **form)
        assert np.array_equal(other.to_dense(), dense)
        assert np.array_equal(other.mask(), mask)
        back = other.to(case[0], **case[1])
        assert all(np.array_equal(a, b) for a, b in zip(
            (fmt.weight, *fmt.arrays().values()), (back.weight, *back.arrays().values()), strict=True))  # fmt: skip


@pytest.mark.exact
def test_zeros_are_stored_where_a_mask_says_so_and_nan_inputs_reach_the_output():
    dense = np.zeros((3, 8), np.float32)
    dense[1, 2] = 1.0
    mask = np.zeros((3, 8), bool)
    mask[:, 2] = True
    fmt = formats.CSR.from_dense(dense, mask)
    assert fmt.weight.tolist() == [0.0, 1.0, 0.0]
    x = np.zeros((1, 8), np.float32)
    x[0, 2] = np.nan
    for y in (FAST.panels(fmt.runs(), FAST.pack(x), 1, NOTHING), FAST.events(fmt.strips(), x, NOTHING)):
        assert np.isnan(y[0, 1])


@pytest.mark.parametrize("name", ["csr", "csc"])
def test_nothing_of_the_dense_size_is_made_on_the_way_from_events_to_outputs(name):
    rng = np.random.default_rng(0)
    size, fan = 20_000, 3
    index = np.sort(rng.integers(0, size // fan, (size, fan)) + np.arange(fan) * (size // fan), 1).astype(np.uint16)
    few = formats.Condensed((size, size), rng.standard_normal((size, fan)).astype(np.float32), index).validate()
    x = np.zeros((2, size), np.float32)
    x[:, rng.integers(0, size, 200)] = 1.0
    FAST.events(few.strips(), x[:, :size], NOTHING)  # compiled before memory is watched
    tracemalloc.start()
    other = few.to(name)
    by_events, by_panel = FAST.events(other.strips(), x, NOTHING), FAST.panels(other.runs(), FAST.pack(x), 2, NOTHING)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(by_events, by_panel)
    assert np.allclose(by_events[0], (x[0, index] * few.weight).sum(1), atol=1e-6)
    assert peak < size * size * 4 / 50


@pytest.mark.fault
def test_what_does_not_fit_is_refused_by_name():
    dense = np.ones((6, 8), np.float32)
    refused = [
        (ShapeError, r"pad to \(8, 8\)", lambda: formats.BSR.from_dense(dense, h=4, w=4)),
        (ShapeError, r"pad to \(6, 9\)", lambda: formats.NM.from_dense(dense, n=1, m=3)),
        (ParameterError, "more than n=2", lambda: formats.NM.from_dense(dense, n=2, m=4)),
        (ParameterError, "from 1", lambda: formats.BSR.from_dense(dense, h=0, w=4)),
        (ParameterError, "as many", lambda: formats.Condensed.from_dense(np.tri(3, dtype=np.float32))),
        (UnknownNameError, "number of csr", lambda: formats.CSR.from_dense(dense, h=2)),
        (NonFiniteError, r"weight\[0, 1\]", lambda: formats.CSR.from_dense(np.array([[1.0, np.nan]]))),
        (DTypeError, "int64", lambda: formats.CSR.from_dense(np.ones((2, 2), np.int64))),
        (ShapeError, "mask", lambda: formats.CSR.from_dense(dense, np.ones((2, 2), bool))),
        (UnknownNameError, "csr", lambda: formats.by_name("csrr")),
    ]  # fmt: skip
    for error, words, work in refused:
        with pytest.raises(error, match=words):
            work()
    good = formats.CSR.from_dense(np.eye(3, dtype=np.float32))
    for error, words, change in (
        (ParameterError, r"index\[1\] is 7", {"index": np.array([0, 7, 2])}),
        (ParameterError, "ascend", {"start": np.array([0, 3, 3, 3]), "index": np.array([0, 2, 1])}),
        (ShapeError, "start", {"start": np.array([0, 1, 3])}),
        (ParameterError, "must not fall", {"start": np.array([0, 2, 1, 3])}),
        (DTypeError, "index is float64", {"index": np.array([0.0, 1.0, 2.0])}),
    ):
        arrays = {"start": good.start, "index": good.index, **change}
        with pytest.raises(error, match=words):
            formats.from_arrays("csr", (3, 3), good.weight, arrays)
    with pytest.raises(UnknownNameError, match="index"):
        formats.from_arrays("csr", (3, 3), good.weight, {"indx": good.index})
    with pytest.raises(DTypeError, match="int64"):
        formats.from_arrays("csr", (3, 3), np.arange(3), {"start": good.start, "index": good.index})

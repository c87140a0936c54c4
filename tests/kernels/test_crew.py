"""The choice between one thread and all."""

from __future__ import annotations

from collections.abc import Callable

from spikeframe.kernels.numba.crew import Crew


def _ran(crew: Crew, seconds: Callable[[int], float], steps: int, threads: int = 4) -> dict[int, int]:
    """Run so many steps, each of ``seconds(threads)``; return the steps that each number of threads ran."""
    by = {1: 0, threads: 0}
    while steps:
        count, length = crew.choose(threads, min(steps, 1000))
        crew.took(count, length, length * seconds(count))
        by[count] += length
        steps -= length
    return by


def test_nearly_all_steps_are_run_the_faster_way():
    for faster, slower in ((1, 4), (4, 1)):
        by = _ran(Crew(), lambda n, best=faster: 1.0 if n == best else 30.0, 200_000)
        assert by[faster] > 0.99 * 200_000
        assert by[slower] > 64  # it was tried again


def test_a_machine_that_becomes_busy_and_idle_again_is_noticed():
    crew = Crew()
    _ran(crew, lambda n: 1.0 / n, 50_000)
    by = _ran(crew, lambda n: 1.0 if n == 1 else 50.0, 100_000)
    assert by[1] > by[4]
    by = _ran(crew, lambda n: 1.0 / n, 300_000)
    assert by[4] > by[1]


def test_stretches_end_at_the_same_steps_whatever_is_faster():
    ends = []
    for threads, seconds in ((1, 1.0), (4, 0.1), (4, 9.0)):
        crew, found = Crew(), []
        for _ in range(200):
            count, length = crew.choose(threads, 1000)
            crew.took(count, length, length * (1.0 if count == 1 else seconds))
            found.append(length)
        ends.append(found)
    assert ends[0] == ends[1] == ends[2]
    assert 64 in ends[0][2:]

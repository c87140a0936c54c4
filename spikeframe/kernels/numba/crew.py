"""How many threads run the next stretch of a simulation: one or all, whichever was faster when last tried.

Threads meet once per smallest delay. On a small network, or on a machine that is busy with other things, waiting for
each other can cost more than it saves: then one thread goes on alone. No spike depends on it; and stretches end at the
same steps whatever was faster, as counts of skipped updates depend on that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: Steps of a trial: few, as the slower way can be very slow. What a stretch of fewer takes tells nothing.
_TRIAL = 64
#: Stretches between two trials of the way that was slower.
_EVERY = 64


@dataclass(eq=False)
class Crew:
    """Chooses the number of threads, stretch by stretch.

    Attributes:
        seconds: per number of threads, how long a step last took.
        stretches: so far, without those shorter than a trial.
    """

    seconds: dict[int, float] = field(default_factory=dict)
    stretches: int = 0

    def choose(self, threads: int, steps: int) -> tuple[int, int]:
        """Return threads and steps of the next stretch.

        Args:
            threads: at most so many.
            steps: at most so many.
        """
        faster, slower = sorted((threads, 1), key=lambda n: self.seconds.get(n, 0.0))
        if steps < _TRIAL:
            return faster, steps
        at, self.stretches = self.stretches, self.stretches + 1
        if at < 2:
            return (threads, 1)[at], _TRIAL
        return (slower, _TRIAL) if at % _EVERY == 0 else (faster, steps)

    def took(self, threads: int, steps: int, seconds: float) -> None:
        """Note how long a stretch took.

        Args:
            threads: that ran it.
            steps: its length, at least 1.
            seconds: its time.
        """
        if steps >= _TRIAL:
            self.seconds[threads] = seconds / steps

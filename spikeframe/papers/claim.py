"""One claim of a paper and what became of it here."""

from __future__ import annotations

from dataclasses import dataclass

from spikeframe.errors import ParameterError, unknown_name

VERDICTS = ("reproduced", "in part", "not reproduced", "not tried")


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

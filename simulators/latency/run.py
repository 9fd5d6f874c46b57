"""What every bench is given, and how it lets the server and its reference take turns.

A bench is a module of `benches/` with one function from `Run` to what came out of it. It opens its
venue, says what one turn of each side is, and names the figures that come of them::

    def cue(run: Run) -> Iterator[Comparison]:
        with open_house(run) as house, ...:
            rounds = run.rounds_of("cue", echoes, cues)
            yield rounds.compare("cue", "echo", Figure("cue to driver", "ms", goals))
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter, process_time
from types import TracebackType
from typing import NamedTuple, TypeAlias

from simulators.latency.figures import Comparison, Goal, Series, Unit
from simulators.latency.profiler import Profiler

Batch: TypeAlias = dict[str, list[float]]
"""Samples of one turn, by what they are samples of."""

Turn: TypeAlias = Callable[[], Batch]
"""Measure once."""

BUSY = 0.8
"""Of a processor: a load that takes so much of one may be what is slow."""


class Effort:
    """How much of a processor the load takes itself, in what is inside of `with effort`."""

    def __init__(self) -> None:
        self._worked_s = self._passed_s = 0.0

    def __enter__(self) -> None:
        """Begin to count."""
        self._worked_s -= process_time()
        self._passed_s -= perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End to count."""
        self._worked_s += process_time()
        self._passed_s += perf_counter()

    def take(self) -> float | None:
        """Return the share since the last time; None where nothing was counted."""
        share = self._worked_s / self._passed_s if self._passed_s else None
        self._worked_s = self._passed_s = 0.0
        return share


class Figure(NamedTuple):
    """What samples are called and measured in, and how good they are to be."""

    what: str
    unit: Unit
    goals: Sequence[Goal] = ()


@dataclass(frozen=True, slots=True)
class Rounds:
    """What was measured in each round but the first, which is a warm-up."""

    batches: Sequence[Batch]
    efforts: dict[str, float]
    """How busy the load was with each thing, at most; of what it was counted for."""

    def series(self, figure: Figure) -> Series:
        """Return the samples of one thing."""
        samples = [batch[figure.what] for batch in self.batches]
        effort = self.efforts.get(figure.what)
        return Series(figure.what, figure.unit, samples, figure.goals, effort)

    def compare(self, bench: str, reference: Figure | None, *subjects: Figure) -> Comparison:
        """Put figures beside a reference."""
        beside = None if reference is None else self.series(reference)
        return Comparison(bench, beside, [self.series(each) for each in subjects])


@dataclass(frozen=True, slots=True)
class Run:
    """How much is measured; `tell` hears how far it has come, `remark` what is left out."""

    rounds: int
    samples: int
    audiences: tuple[int, ...]
    tell: Callable[[str], None]
    remark: Callable[[str], None]
    profiler: Profiler = field(default_factory=Profiler)
    effort: Effort = field(default_factory=Effort)

    def part(self, share: float) -> int:
        """Return how often to do what takes longer: so much of `samples`, and once at least."""
        return max(1, round(self.samples * share))

    def rounds_of(self, bench: str, *turns: Turn) -> Rounds:
        """Let all sides take turns for some rounds, so that what disturbs falls on all of them."""
        batches: list[Batch] = []
        efforts: dict[str, float] = {}
        for number in range(self.rounds + 1):
            self.tell(f"{bench}: " + (f"round {number} of {self.rounds}" if number else "warm-up"))
            batches.append({})
            for turn in turns:
                self.effort.take()
                batch = turn()
                batches[-1] |= batch
                if number and (share := self.effort.take()) is not None:
                    efforts |= {what: max(share, efforts.get(what, 0.0)) for what in batch}
        for what, share in efforts.items():
            if share > BUSY:
                self.remark(
                    f"{bench}: the load itself took {share:.0%} of a processor for {what!r}, "
                    "which may be faster than this says"
                )
        return Rounds(batches[1:], efforts)

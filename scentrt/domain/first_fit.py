"""Things in a row, each of a size, of which the first that is large enough is wanted."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar

SHELF = 256
"""Things on a shelf, up to twice as many: of 100,000, what is wanted is then found in some ten
microseconds, about as long by looking along the shelves as by looking along the one."""


class Rank(Protocol):
    """A place in the order; no two things have the same."""

    def __lt__(self, other: Any, /) -> bool: ...


RankT = TypeVar("RankT", bound=Rank)
T = TypeVar("T")


class FirstFit(Generic[RankT, T]):
    """Things by rank, on shelves of which the largest thing is known.

    So a shelf of things that are too small is passed at a glance, however many they are.

    Args:
      entries: rank, size and thing, in any order.
    """

    def __init__(self, entries: Iterable[tuple[RankT, int, T]] = ()) -> None:
        ranked = sorted(entries, key=_rank)
        shelves = [ranked[start : start + SHELF] for start in range(0, len(ranked), SHELF)]
        self._shelves: list[_Shelf[RankT, T]] = [_Shelf(entries) for entries in shelves]
        self._lasts = [shelf.ranks[-1] for shelf in self._shelves]
        self._largest = [max(shelf.sizes) for shelf in self._shelves]

    @property
    def largest(self) -> int:
        """The size of the largest thing, 0 where nothing is here."""
        return max(self._largest, default=0)

    def first(self, least: int) -> T | None:
        """Return the first thing of at least this size; None where there is none."""
        for shelf, largest in zip(self._shelves, self._largest, strict=True):
            if largest >= least:
                return shelf.first(least)
        return None

    def put(self, rank: RankT, size: int, thing: T) -> None:
        """Put a thing in its place; nothing of this rank may be here."""
        if not self._shelves:
            self._put_up(0, [(rank, size, thing)])
            return
        at = self._shelf_of(rank)
        shelf = self._shelves[at]
        shelf.insert(rank, size, thing)
        self._lasts[at] = shelf.ranks[-1]
        self._largest[at] = max(self._largest[at], size)
        if len(shelf.ranks) > 2 * SHELF:
            entries = list(shelf)
            self._take_down(at)
            self._put_up(at, entries[SHELF:])
            self._put_up(at, entries[:SHELF])

    def resize(self, rank: RankT, size: int) -> None:
        """Change the size of the thing that has this rank."""
        at = self._shelf_of(rank)
        shelf = self._shelves[at]
        place = bisect_left(shelf.ranks, rank)
        was, shelf.sizes[place] = shelf.sizes[place], size
        self._note_largest(at, was, size)

    def remove(self, rank: RankT) -> None:
        """Take the thing away that has this rank."""
        at = self._shelf_of(rank)
        shelf = self._shelves[at]
        was = shelf.remove(rank)
        if shelf.ranks:
            self._lasts[at] = shelf.ranks[-1]
            self._note_largest(at, was)
        else:
            self._take_down(at)

    def _shelf_of(self, rank: RankT) -> int:
        return min(bisect_left(self._lasts, rank), len(self._lasts) - 1)

    def _note_largest(self, at: int, was: int, size: int | None = None) -> None:
        if size is not None and size >= self._largest[at]:
            self._largest[at] = size
        elif was == self._largest[at]:
            self._largest[at] = max(self._shelves[at].sizes)

    def _put_up(self, at: int, entries: list[tuple[RankT, int, T]]) -> None:
        shelf = _Shelf(entries)
        self._shelves.insert(at, shelf)
        self._lasts.insert(at, shelf.ranks[-1])
        self._largest.insert(at, max(shelf.sizes))

    def _take_down(self, at: int) -> None:
        del self._shelves[at], self._lasts[at], self._largest[at]


class _Shelf(Generic[RankT, T]):
    """Some things that stand together, by rank."""

    __slots__ = ("ranks", "sizes", "things")

    def __init__(self, entries: list[tuple[RankT, int, T]]) -> None:
        self.ranks = [rank for rank, _, _ in entries]
        self.sizes = [size for _, size, _ in entries]
        self.things = [thing for _, _, thing in entries]

    def __iter__(self) -> Iterator[tuple[RankT, int, T]]:
        return zip(self.ranks, self.sizes, self.things, strict=True)

    def first(self, least: int) -> T:
        """Return the first thing of at least this size; there is one."""
        for thing, size in zip(self.things, self.sizes, strict=True):
            if size >= least:
                return thing
        raise AssertionError("the largest of them is no smaller")

    def insert(self, rank: RankT, size: int, thing: T) -> None:
        place = bisect_left(self.ranks, rank)
        self.ranks.insert(place, rank)
        self.sizes.insert(place, size)
        self.things.insert(place, thing)

    def remove(self, rank: RankT) -> int:
        """Take out what has this rank, and return its size."""
        place = bisect_left(self.ranks, rank)
        size = self.sizes[place]
        del self.ranks[place], self.sizes[place], self.things[place]
        return size


def _rank(entry: tuple[RankT, int, T]) -> RankT:
    return entry[0]

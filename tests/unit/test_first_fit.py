"""The first thing that is large enough is found, whatever has come, gone and changed before."""

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from scentrt.domain import first_fit
from scentrt.domain.first_fit import FirstFit

sizes = st.integers(-5, 5)
entries = st.dictionaries(st.integers(0, 30), sizes)
steps = st.lists(st.tuples(st.integers(0, 30), st.none() | sizes, st.integers(-6, 6)))


@given(entries, steps, st.integers(1, 3))
def test_the_first_that_is_large_enough_is_found(
    entries: dict[int, int], steps: list[tuple[int, int | None, int]], shelf: int
) -> None:
    """Each step puts something in, or resizes it, or without a size removes it; and then looks."""
    with patch.object(first_fit, "SHELF", shelf):
        fit = FirstFit((rank, size, str(rank)) for rank, size in entries.items())
        expected = dict(entries)
        for rank, size, least in steps:
            if size is None:
                if expected.pop(rank, None) is not None:
                    fit.remove(rank)
            elif rank in expected:
                fit.resize(rank, size)
                expected[rank] = size
            else:
                fit.put(rank, size, str(rank))
                expected[rank] = size
            in_order = sorted(expected.items())
            assert fit.largest == max(expected.values(), default=0)
            assert fit.first(least) == next(
                (str(rank) for rank, size in in_order if size >= least), None
            )


def test_of_very_many_few_are_looked_at() -> None:
    looks = 0

    class Size(int):
        def __ge__(self, other: int) -> bool:
            nonlocal looks
            looks += 1
            return int(self) >= other

        def __gt__(self, other: int) -> bool:
            nonlocal looks
            looks += 1
            return int(self) > other

        def __lt__(self, other: int) -> bool:
            nonlocal looks
            looks += 1
            return int(self) < other

    fit: FirstFit[int, int] = FirstFit((n, Size(n % 1_000), n) for n in range(100_000))
    looks = 0
    assert fit.first(Size(999)) == 999
    fit.resize(999, Size(0))
    fit.remove(1_999)
    assert fit.first(Size(999)) == 2_999
    fit.put(100_000, Size(1_000), 100_000)
    assert fit.first(Size(1_000)) == 100_000
    assert fit.first(Size(1_001)) is None
    assert looks < 10_000, "five of them, of 100,000 each"

"""The forecast says what a cue by cue and seat by seat simulation says, and what the zone does."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from scentrt.domain.cues import Cue, CueKey, OwnerId, Scent, SeatId, Target, ZoneId
from scentrt.domain.decisions import Accepted
from scentrt.domain.doses import US_PER_S, Limits
from scentrt.domain.forecast import (
    Forecast,
    Load,
    PlannedCue,
    RunsDry,
    ScentForecast,
    SeatNow,
    SlotNow,
    dose_at_us,
    finish,
    forecast,
    forecasting,
)
from scentrt.domain.names import Sku
from scentrt.domain.seat_settings import SeatSettings
from scentrt.domain.seats import Seat, Skip, Slot, Vial
from scentrt.domain.theatre import Zone
from scentrt.domain.vials import Catalogue, VialId, VialKind

A, B = ZoneId("A"), ZoneId("B")
SEA, PINE, TAR = Scent("sea-breeze"), Scent("pine"), Scent("tar")
SEABREEZE = VialKind(Sku("SEABREEZE"), SEA, 10 * US_PER_S)
CATALOGUE = Catalogue([SEABREEZE, VialKind(Sku("PINE"), PINE, 20 * US_PER_S)])


def cue(
    at_s: float, scent: Scent = SEA, dose_s: float = 1, *, to: Target | None = None
) -> PlannedCue:
    return PlannedCue(at_s * 1000, scent, 1.0, dose_s * 1000, to or Target(all=True))


def seat(name: str, *left_s: float | None, zone: ZoneId = A, scent: Scent = SEA) -> SeatNow:
    slots = (SlotNow(scent, None if s is None else round(s * US_PER_S)) for s in left_s)
    return SeatNow(zone, SeatId(name), tuple(slots))


def only(found: Forecast) -> ScentForecast:
    [scent] = found.scents
    return scent


class TestOneScent:
    def test_it_lasts_where_there_is_just_enough(self) -> None:
        found = only(forecast([cue(0), cue(5, dose_s=2)], [seat("A-1", 3)], CATALOGUE))
        assert (found.lasts, found.needed_us, found.present_us) == (True, 3_000_000, 3_000_000)
        assert (found.short_us, found.dry, found.load) == (0, None, ())

    def test_the_first_cue_that_some_seat_cannot_have_is_named_with_these_seats(self) -> None:
        cues = [cue(9), cue(1, dose_s=2), cue(5)]
        seats = [seat("A-1", 3), seat("A-2", 2), seat("A-3", 4), seat("A-4", 2)]
        found = only(forecast(cues, seats, CATALOGUE))
        assert found.dry == RunsDry(cue=2, at_ms=5_000, seats=(SeatId("A-2"), SeatId("A-4")))
        assert (found.short_seats, found.short_us) == (3, 5_000_000)
        assert found.load == (Load(SEABREEZE, vials=3, seats=3, during_show=0),)

    def test_cues_of_one_moment_come_in_the_order_of_the_list(self) -> None:
        found = only(forecast([cue(1), cue(1, dose_s=2)], [seat("A-1", 2)], CATALOGUE))
        assert found.dry == RunsDry(1, 1_000, (SeatId("A-1"),))

    def test_a_seat_falls_back_to_another_slot_and_a_smaller_cue_is_taken_from_what_is_left(
        self,
    ) -> None:
        cues = [cue(0, dose_s=3), cue(1, dose_s=3), cue(2, dose_s=3), cue(3, dose_s=2)]
        found = only(forecast(cues, [seat("A-1", 5, 4)], CATALOGUE))
        assert found.dry == RunsDry(2, 2_000, (SeatId("A-1"),))
        assert found.short_us == 3_000_000

    def test_a_seat_without_a_vial_never_runs_dry_and_is_not_counted(self) -> None:
        cues = [cue(0, dose_s=2), cue(1, dose_s=2)]
        found = only(forecast(cues, [seat("A-1", None), seat("A-2", 5)], CATALOGUE))
        assert (found.lasts, found.present_us) == (True, 5_000_000)
        assert (found.uncounted_us, found.uncounted_seats) == (4_000_000, 1)
        bare = only(forecast(cues, [seat("A-1", None)], CATALOGUE))
        assert (bare.lasts, bare.present_us, bare.needed_us) == (True, None, 4_000_000)

    def test_beside_a_vial_a_slot_without_one_gives_nothing(self) -> None:
        found = only(forecast([cue(0), cue(1)], [seat("A-1", None, 1)], CATALOGUE))
        assert (found.lasts, found.short_us, found.uncounted_us) == (False, 1_000_000, 0)

    def test_an_empty_vial_is_counted(self) -> None:
        found = only(forecast([cue(0)], [seat("A-1", 0)], CATALOGUE))
        assert (found.lasts, found.present_us) == (False, 0)

    def test_the_gain_of_a_seat_counts_to_full_intensity_at_most(self) -> None:
        quiet = PlannedCue(0, SEA, 0.4, 1_000, Target(all=True))
        seats = [replace(seat(f"A-{gain}", 9), gain=gain) for gain in (0.5, 1, 2, 4)]
        found = only(forecast([quiet], seats, CATALOGUE))
        assert found.needed_us == 200_000 + 400_000 + 800_000 + 1_000_000

    def test_what_one_vial_cannot_hold_is_loaded_during_the_show(self) -> None:
        found = only(forecast([cue(n, dose_s=4) for n in range(9)], [seat("A-1", 9)], CATALOGUE))
        assert found.load == (Load(SEABREEZE, vials=4, seats=1, during_show=4),)

    def test_the_preferred_product_that_holds_a_dose_is_loaded(self) -> None:
        small, big = (VialKind(Sku(f"SEA-{s}"), SEA, s * US_PER_S) for s in (1, 30))
        cues = [cue(0, dose_s=2)]
        found = only(forecast(cues, [seat("A-1", 1)], Catalogue([small, big])))
        assert found.load == (Load(big, 1, 1, 0),)
        none = only(forecast(cues, [seat("A-1", 1)], Catalogue([small])))
        assert (none.short_seats, none.load) == (1, ())


class TestWhoIsSprayed:
    def test_who_opted_out_or_is_averse_needs_nothing(self) -> None:
        seats = [
            replace(seat("A-1", 1), opted_out=True),
            replace(seat("A-2", 1), averse_to=frozenset([SEA])),
            replace(seat("A-3", 1), averse_to=frozenset([PINE])),
        ]
        found = only(forecast([cue(0)], seats, CATALOGUE))
        assert (found.seats, found.needed_us, found.present_us) == (1, 1_000_000, 1_000_000)

    def test_zones_and_seats_are_meant_as_they_are_named(self) -> None:
        seats = [seat("A-1", 9), seat("A-2", 9), seat("B-1", 9, zone=B)]
        cues = [
            cue(0, to=Target(zones=(B,))),
            cue(1, to=Target(seats=(SeatId("A-2"), SeatId("B-1")))),
            cue(2, dose_s=2),
        ]
        found = forecast(cues, seats, CATALOGUE)
        assert [(it.zone, it.needed_us) for it in found.scents] == [(A, 5_000_000), (B, 4_000_000)]

    def test_a_cue_that_no_seat_gets_is_named_and_one_for_goggles_is_not_counted(self) -> None:
        cues = [
            cue(0, TAR),
            cue(1, to=Target(goggles=(SeatId("player-7"),))),
            cue(2, to=Target(zones=(ZoneId("goggles"),))),
            cue(3),
            cue(4, to=Target(zones=(B,))),
        ]
        found = forecast(cues, [seat("A-1", 9)], CATALOGUE)
        assert found.unsprayed == (0, 4)
        assert only(found).needed_us == 1_000_000

    def test_nothing_is_needed_of_nobody(self) -> None:
        found = forecast([], [seat("A-1", 9)], CATALOGUE)
        assert (found.lasts, found.scents, found.cues) == (True, (), 0)
        assert forecast([cue(0)], [], CATALOGUE).unsprayed == (0,)


# Against a simulation

dose_s = st.integers(1, 6)
seconds = st.integers(0, 12)
names = [SeatId(f"{zone}-{n}") for zone in "AB" for n in range(3)]
targets = st.one_of(
    st.just(Target(all=True)),
    st.sampled_from([(A,), (B,), (A, B)]).map(lambda zones: Target(zones=zones)),
    st.lists(st.sampled_from(names), min_size=1, unique=True).map(lambda s: Target(seats=tuple(s))),
)
cues = st.lists(
    st.builds(
        PlannedCue,
        at_ms=st.integers(0, 5).map(float),
        scent=st.sampled_from([SEA, PINE, TAR]),
        intensity=st.sampled_from([0.25, 0.5, 1.0]),
        duration_ms=dose_s.map(lambda s: s * 1000.0),
        target=targets,
    ),
    max_size=14,
)
slots = st.lists(
    st.builds(
        SlotNow,
        st.sampled_from([SEA, PINE]),
        st.one_of(st.none(), *[seconds.map(lambda s: s * US_PER_S)] * 3),
    ),
    max_size=4,
)


@st.composite
def houses(draw: st.DrawFn) -> list[SeatNow]:
    return [
        SeatNow(
            ZoneId(name[0]),
            name,
            tuple(draw(slots)),
            opted_out=draw(st.integers(0, 5)) == 0,
            averse_to=draw(st.sampled_from([frozenset(), frozenset(), frozenset([PINE])])),
            gain=draw(st.sampled_from([1.0, 1.0, 0.5, 2.0])),
        )
        for name in names
    ]


def means(target: Target, seat: SeatNow) -> bool:
    return target.all or seat.zone in target.zones or seat.id in target.seats


def play(
    cues: Sequence[PlannedCue], seat: SeatNow, scent: Scent, left: list[int | None]
) -> tuple[list[int], int, int]:
    """Return the places of the cues that the seat lacks, what it needs, and what is uncounted."""
    lacking, needed, uncounted = [], 0, 0
    for place, cue in sorted(enumerate(cues), key=lambda each: each[1].at_ms):
        if cue.scent != scent or not means(cue.target, seat):
            continue
        dose = dose_at_us(cue, seat.gain)
        needed += dose
        for number, us in enumerate(left):
            if us is None or us >= dose:
                if us is None:
                    uncounted += dose
                else:
                    left[number] = us - dose
                break
        else:
            lacking.append(place)
    return lacking, needed, uncounted


def wants(seat: SeatNow, scent: Scent) -> bool:
    return not seat.opted_out and scent not in seat.averse_to


def left_at(seat: SeatNow, scent: Scent) -> list[int | None]:
    """Return what is left in the slots that count: those with a vial, if there are any."""
    left = [slot.left_us for slot in seat.slots if slot.scent == scent]
    return [us for us in left if us is not None] or left


@given(cues, houses())
def test_it_says_what_a_simulation_cue_by_cue_and_seat_by_seat_says(
    cues: list[PlannedCue], seats: list[SeatNow]
) -> None:
    found = forecast(cues, seats, CATALOGUE)
    rows = {(row.zone, row.scent): row for row in found.scents}
    sprayed: set[int] = set()
    order = {p: n for n, p in enumerate(sorted(range(len(cues)), key=lambda p: cues[p].at_ms))}
    expected = set()
    for zone in A, B:
        for scent in SEA, PINE, TAR:
            meant = [place for place, cue in enumerate(cues) if cue.scent == scent]
            there = [
                seat
                for seat in seats
                if seat.zone == zone
                and wants(seat, scent)
                and left_at(seat, scent)
                and any(means(cues[place].target, seat) for place in meant)
            ]
            if not there:
                continue
            expected.add((zone, scent))
            row = rows[zone, scent]
            played = {seat.id: play(cues, seat, scent, left_at(seat, scent)) for seat in there}
            for seat in there:
                sprayed.update(place for place in meant if means(cues[place].target, seat))
            vials = [us for seat in there for us in left_at(seat, scent) if us is not None]
            assert row.seats == len(there)
            assert row.needed_us == sum(needed for _, needed, _ in played.values())
            assert row.present_us == (sum(vials) if vials else None)
            assert row.uncounted_us == sum(uncounted for _, _, uncounted in played.values())
            assert row.uncounted_seats == sum(None in left_at(seat, scent) for seat in there)
            dry = {id: lacking for id, (lacking, _, _) in played.items() if lacking}
            assert row.short_seats == len(dry)
            assert row.lasts == (not dry)
            if row.dry is not None:
                first = min((lacking[0] for lacking in dry.values()), key=order.__getitem__)
                assert (row.dry.cue, row.dry.at_ms) == (first, cues[first].at_ms)
                assert sorted(row.dry.seats) == [id for id in sorted(dry) if dry[id][0] == first]
    assert rows.keys() == expected
    assert set(found.unsprayed) == set(range(len(cues))) - sprayed


@given(cues, houses())
def test_a_seat_with_the_vials_of_the_forecast_lasts_and_with_one_less_it_does_not(
    cues: list[PlannedCue], seats: list[SeatNow]
) -> None:
    for seat in seats:
        for row in forecast(cues, [seat], CATALOGUE).scents:
            if row.lasts:
                assert row.load == ()
                continue
            [load] = row.load
            left = [us for us in left_at(seat, row.scent) if us is not None]
            emptiest = sorted(range(len(left)), key=left.__getitem__)

            def lasts_with(
                new: int,
                *,
                left: Sequence[int] = left,
                emptiest: Iterable[int] = emptiest,
                seat: SeatNow = seat,
                row: ScentForecast = row,
                full: int = load.kind.capacity_us,
            ) -> bool:
                slots: list[int | None] = list(left)
                for number in list(emptiest)[:new]:
                    slots[number] = full
                return not play(cues, seat, row.scent, slots)[0]

            if load.during_show:
                assert load.vials == load.during_show
                assert not any(lasts_with(new) for new in range(len(left) + 1))
                assert load.vials * load.kind.capacity_us + sum(left) >= row.needed_us
            else:
                assert lasts_with(load.vials)
                assert not lasts_with(load.vials - 1)


@given(cues, houses())
def test_a_house_needs_what_its_seats_need_one_by_one(
    cues: list[PlannedCue], seats: list[SeatNow]
) -> None:
    whole = forecast(cues, seats, CATALOGUE).scents
    alone = [row for seat in seats for row in forecast(cues, [seat], CATALOGUE).scents]
    for row in whole:
        parts = [each for each in alone if (each.zone, each.scent) == (row.zone, row.scent)]
        for field in "seats", "needed_us", "uncounted_us", "short_us", "short_seats":
            assert getattr(row, field) == sum(getattr(part, field) for part in parts)
        for field in "vials", "seats", "during_show":
            told = [sum(getattr(load, field) for load in each.load) for each in (row, *parts)]
            assert told[0] == sum(told[1:])


@given(cues, houses())
def test_the_zone_itself_runs_dry_where_the_forecast_says(
    cues: list[PlannedCue], seats: list[SeatNow]
) -> None:
    """Where no cue is in the way of another, and every limit is far."""
    limits = Limits(10**12, 10**12, clearing_ms=0)
    number = count(1)
    for seat in seats:
        real = Seat(
            seat.id,
            [
                Slot(
                    n,
                    slot.scent,
                    None if slot.left_us is None else Vial(slot.left_us, id=VialId(n)),
                )
                for n, slot in enumerate(seat.slots)
            ],
            limits,
        )
        real.settle(SeatSettings(seat.opted_out, seat.averse_to, seat.gain))
        zone = Zone(seat.zone, [real], limits)
        empty: dict[Scent, list[int]] = {}
        for place, cue in sorted(enumerate(cues), key=lambda each: each[1].at_ms):
            if not means(cue.target, seat):
                continue
            now_ms = next(number) * 100_000.0
            key = CueKey(OwnerId("s-1"), place)
            told = Cue(key, cue.scent, cue.intensity, cue.duration_ms, now_ms, 500.0, now_ms)
            verdict = zone.accept(told, now_ms)
            assert isinstance(verdict, Accepted)
            if Skip.EMPTY in verdict.skipped:
                empty.setdefault(cue.scent, []).append(place)
        rows = forecast(cues, [seat], CATALOGUE).scents
        assert {row.scent: row.dry.cue for row in rows if row.dry} == {
            scent: places[0] for scent, places in empty.items()
        }


def test_it_rests_often_however_long_the_list_and_however_many_the_seats() -> None:
    seats = [seat(f"A-{n}", 100 + n) for n in range(300)]
    cues = [cue(n, to=Target(seats=tuple(s.id for s in seats[n % 7 :]))) for n in range(600)]
    rests = count()
    found = finish(forecasting(cues, seats, CATALOGUE), lambda: next(rests))
    assert next(rests) > 300
    assert found == forecast(cues, seats, CATALOGUE)

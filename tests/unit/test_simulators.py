"""What the simulators know without a server: the walk, a device, a clock, a plan, a tally."""

import math
import tomllib
from collections.abc import Sequence
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.client import ServerClock
from simulators.engine import (
    AMBIENT,
    FRAMES_PER_S,
    LAP_S,
    MAP,
    Walk,
    happenings,
    levels_at,
    next_frame,
    places_for,
)
from simulators.goggles import Device, Vial
from simulators.tally import Tally, percentile
from simulators.theatre import plan, zone_names

seeds = st.integers(0, 2**32)
moments = st.floats(0, 3600)


class TestWalk:
    @given(seeds, moments)
    def test_the_same_seed_walks_the_same_way(self, seed: int, t_s: float) -> None:
        assert Walk.of(seed).position(t_s) == Walk.of(seed).position(t_s)

    @given(seeds, moments)
    def test_a_lap_later_the_explorer_is_there_again(self, seed: int, t_s: float) -> None:
        walk = Walk.of(seed)
        assert walk.position(t_s + LAP_S) == pytest.approx(walk.position(t_s), abs=1e-6)

    @given(seeds, moments)
    def test_nobody_jumps(self, seed: int, t_s: float) -> None:
        walk = Walk.of(seed)
        step_m = abs(walk.position(t_s + 1 / FRAMES_PER_S) - walk.position(t_s))
        assert step_m < 7 / FRAMES_PER_S

    @given(seeds)
    def test_one_lap_passes_through_every_place(self, seed: int) -> None:
        walk = Walk.of(seed)
        frames = [walk.position(n / FRAMES_PER_S) for n in range(round(LAP_S * FRAMES_PER_S))]
        for place in MAP:
            assert min(abs(here - place.heart) for here in frames) < 0.5

    def test_a_single_place_is_strolled_about_in(self) -> None:
        walk = Walk.of(1, MAP[:1])
        assert levels_at(walk.position(7.0), MAP[:1])[MAP[0].scent] > 0


class TestLevels:
    def test_a_place_is_strongest_at_its_heart(self) -> None:
        for place in MAP:
            assert levels_at(place.heart, MAP)[place.scent] == AMBIENT

    def test_a_place_smells_of_nothing_from_its_reach_on(self) -> None:
        for place in MAP:
            assert levels_at(place.heart + place.reach_m, [place]) == {place.scent: 0.0}

    @given(st.floats(0, 30), st.floats(0, 30))
    def test_further_away_is_never_stronger(self, a: float, b: float) -> None:
        near, far = sorted((a, b))
        sea = MAP[-1]
        at_near, at_far = (levels_at(sea.heart + r * 1j, [sea])[sea.scent] for r in (near, far))
        assert 0 <= at_far <= at_near <= AMBIENT


class TestHappenings:
    @given(seeds)
    def test_they_are_known_in_order_and_before_they_happen(self, seed: int) -> None:
        happened = happenings(seed, 30, Walk.of(seed))
        assert happened
        assert all(a.known_at_s <= b.known_at_s for a, b in pairwise(happened))
        assert all(0 <= h.known_at_s <= h.at_s < 30 for h in happened)

    @given(seeds)
    def test_they_smell_of_where_the_explorer_is(self, seed: int) -> None:
        walk = Walk.of(seed)
        for happening in happenings(seed, 30, walk):
            here = walk.position(happening.at_s)
            assert abs(here - happening.place.heart) == min(abs(here - p.heart) for p in MAP)

    @pytest.mark.parametrize("seed", range(20))
    def test_with_the_levels_they_stay_within_what_a_seat_may_get_in_a_minute(
        self, seed: int
    ) -> None:
        walk = Walk.of(seed)
        cues_s = sum(h.intensity * h.duration_ms / 1000 for h in happenings(seed, 60, walk))
        levels_s = sum(sum(levels_at(walk.position(t / 5), MAP).values()) / 5 for t in range(300))
        assert cues_s + levels_s < 20

    def test_another_seed_is_another_session(self) -> None:
        assert happenings(1, 20, Walk.of(1)) != happenings(2, 20, Walk.of(2))


class TestFrames:
    def test_a_game_in_time_shows_every_frame(self) -> None:
        assert next_frame(3, 3.2 / FRAMES_PER_S) == 4

    def test_a_game_that_was_held_up_shows_the_present(self) -> None:
        assert next_frame(3, 9.5 / FRAMES_PER_S) == 9

    @given(st.integers(0, 10**6), st.floats(0, 10**5))
    def test_time_only_goes_forward(self, frame: int, elapsed_s: float) -> None:
        assert next_frame(frame, elapsed_s) > frame


class TestPlaces:
    zones = (
        {"zone": "A", "seats": 24, "scents": ["sea-breeze", "tar"]},
        {"zone": "B", "seats": 24, "scents": ["forest"]},
    )

    def test_only_scents_that_the_zones_carry_are_played(self) -> None:
        carried = {place.scent for place in places_for(self.zones, {"all": True})}
        assert carried == {"sea-breeze", "forest"}

    def test_of_zones_that_are_named_only_those_count(self) -> None:
        assert [place.scent for place in places_for(self.zones, {"zones": ["B"]})] == ["forest"]


class TestDevice:
    def test_it_closes_by_itself_at_the_end_of_the_duration(self) -> None:
        device = Device([Vial("pine")])
        assert device.spray(0, "c-1", 0.8, 300, now_ms=1000)
        assert device.open_slots(1299) == {0: 0.8}
        assert device.open_slots(1300) == {}
        [opening] = device.openings(5000)
        assert (opening.cue, opening.opened_ms, opening.closes_ms) == ("c-1", 1000, 1300)

    def test_a_level_runs_out_unless_a_newer_one_comes(self) -> None:
        device = Device([Vial("pine")])
        device.level(0, 0.2, ttl_ms=500, now_ms=0)
        device.level(0, 0.3, ttl_ms=500, now_ms=400)
        assert device.open_slots(899) == {0: 0.3}
        assert device.open_slots(900) == {}

    def test_a_level_of_nothing_ends_now(self) -> None:
        device = Device([Vial("pine")])
        device.level(0, 0.2, ttl_ms=500, now_ms=0)
        device.level(0, 0, ttl_ms=500, now_ms=10)
        assert device.open_slots(10) == {}

    @pytest.mark.parametrize(("slot", "still_open"), [(0, {1: 0.5}), (None, {})])
    def test_it_stops_a_slot_or_all(self, slot: int | None, still_open: dict[int, float]) -> None:
        device = Device([Vial("pine"), Vial("tar")])
        for each in (0, 1):
            device.spray(each, f"c-{each}", 0.5, 1000, now_ms=0)
        device.stop(slot, now_ms=100)
        assert device.open_slots(100) == still_open

    def test_a_slot_that_it_does_not_have_is_not_sprayed(self) -> None:
        assert not Device([Vial("pine")]).spray(1, "c-1", 0.5, 1000, now_ms=0)

    def test_what_is_stopped_early_is_not_used_up(self) -> None:
        device = Device([Vial("pine", remaining_s=10)])
        device.spray(0, "c-1", 0.5, 4000, now_ms=0)
        device.stop(0, now_ms=1000)
        assert device.hello() == {"slots": [{"slot": 0, "scent": "pine", "remaining_s": 9.5}]}

    @given(
        st.lists(st.tuples(st.floats(0.01, 1), st.floats(1, 10_000), st.floats(0, 5000))),
        st.floats(0.1, 5),
    )
    def test_no_vial_gives_more_than_it_holds(
        self, sprays: Sequence[tuple[float, float, float]], holds_s: float
    ) -> None:
        device = Device([Vial("pine", holds_s)])
        now_ms = 0.0
        for intensity, duration_ms, pause_ms in sprays:
            device.spray(0, "c", intensity, duration_ms, now_ms)
            now_ms += pause_ms
        given_s = sum(
            opening.intensity * (opening.closes_ms - opening.opened_ms) / 1000
            for opening in device.openings(now_ms + 10_000)
        )
        assert given_s <= holds_s + 1e-5

    def test_an_empty_vial_sprays_nothing(self) -> None:
        device = Device([Vial("pine", remaining_s=1)])
        assert device.spray(0, "c-1", 1.0, 5000, now_ms=0)
        assert device.open_slots(1000) == {}
        assert not device.spray(0, "c-2", 1.0, 5000, now_ms=1000)


class TestServerClock:
    @given(st.floats(-1e6, 1e6), st.floats(0, 50), st.floats(0, 50), st.floats(0, 50))
    def test_it_is_right_to_half_a_round_trip(
        self, offset_ms: float, there_ms: float, held_ms: float, back_ms: float
    ) -> None:
        clock = ServerClock()
        received = 1000 + there_ms + offset_ms
        arrived = 1000 + there_ms + held_ms + back_ms
        clock.learn(1000, received, received + held_ms, arrived)
        assert clock.round_trip_ms == pytest.approx(there_ms + back_ms, abs=1e-6)
        assert abs(clock.at(1000) - (1000 + offset_ms)) <= clock.round_trip_ms / 2 + 1e-6

    def test_the_shortest_round_trip_counts(self) -> None:
        clock = ServerClock()
        clock.learn(0, 500, 500, 2)
        clock.learn(10, 590, 590, 90)
        assert clock.at(1) == 500


class TestPlan:
    def test_it_is_a_theatre_of_the_size_asked_for(self) -> None:
        theatre = tomllib.loads(
            plan(zones=3, rows=10, seats_per_row=12, slots=["tar"], name='The "Roxy"')
        )
        assert theatre["name"] == 'The "Roxy"'
        assert theatre["zones"] == [
            {"id": zone, "rows": 10, "seats_per_row": 12, "slots": ["tar"]} for zone in "ABC"
        ]

    def test_there_are_names_for_any_number_of_zones(self) -> None:
        names = list(islice(zone_names(), 800))
        assert names[:3] + names[25:28] + names[701:703] == [
            *("A", "B", "C"), *("Z", "AA", "AB"), *("ZZ", "AAA"),
        ]  # fmt: skip
        assert len(set(names)) == 800


class TestTally:
    @given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
    def test_a_percentile_is_a_sample_that_so_many_do_not_exceed(
        self, samples: list[float], share: float
    ) -> None:
        value = percentile(samples, share)
        assert value in samples
        assert sum(sample <= value for sample in samples) >= math.ceil(share * len(samples))
        assert sum(sample < value for sample in samples) < math.ceil(share * len(samples))

    def test_no_samples_have_no_percentile(self) -> None:
        with pytest.raises(ValueError, match="no samples"):
            percentile([], 0.5)

    def test_a_cue_that_reached_nobody_has_no_lateness(self) -> None:
        tally = Tally()
        tally.take_report(
            {"written": 0, "failed": 0, "expired": 24}
            | dict.fromkeys(("lateness_ms", "first_ms", "last_ms"))
        )
        assert (tally.reports, tally.expired, len(tally.lateness_ms)) == (1, 24, 0)

"""What the latency harness makes of its samples: percentiles, ratios, goals, and a comparison."""

import io
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from simulators.latency import record
from simulators.latency.audience import IS_POSSIBLE, Audience
from simulators.latency.figures import About, Comparison, Goal, Histogram, Row, Series
from simulators.latency.record import Unreadable
from simulators.latency.run import Batch, Figure, Run
from simulators.latency.schedule import moments
from simulators.latency.table import goals_met, keys, table
from simulators.latency.till import Till, post

ABOUT = About("2026-03-02T20:00:00+00:00", 1.0, (0.5, 0.7), 2, 100, 2, "Linux", "3.11", {})
THOUSAND = [float(number) for number in range(1, 1001)]


def series(what: str, *rounds: Sequence[float], goals: Sequence[Goal] = ()) -> Series:
    return Series(what, "ms", rounds, goals)


def rates(what: str, *figures: float, goals: Sequence[Goal] = ()) -> Series:
    return Series(what, "/s", [[figure] for figure in figures], goals)


def shown(rows: Sequence[Row], width: int = 200, before: Sequence[Row] | None = None) -> str:
    text = io.StringIO()
    then = None if before is None else dict(zip(keys(before), before, strict=True))
    Console(file=text, width=width).print(table(rows, width, then))
    return text.getvalue()


class TestPercentiles:
    @pytest.mark.parametrize(("percent", "value"), [(50, 500), (99, 990), (99.9, 999), (100, 1000)])
    def test_they_are_the_smallest_that_so_many_do_not_exceed(
        self, percent: float, value: float
    ) -> None:
        assert Histogram(THOUSAND, "ms").at([percent])[0] == pytest.approx(value, rel=0.001)

    def test_they_are_told_in_the_order_in_which_they_are_asked_for(self) -> None:
        assert Histogram(THOUSAND, "us").at([99, 50, 99]) == pytest.approx(
            [990, 500, 990], rel=0.001
        )

    def test_microseconds_and_seconds_are_told_to_three_digits(self) -> None:
        assert Histogram([0.0123], "ms").at([50])[0] == pytest.approx(0.0123, rel=0.001)
        assert Histogram([12_300.0], "ms").at([50])[0] == pytest.approx(12_300, rel=0.001)

    def test_what_seems_to_be_over_before_it_began_took_no_time(self) -> None:
        assert Histogram([-0.5], "ms").at([50])[0] == pytest.approx(0, abs=0.001)


class TestAComparison:
    def test_ratios_are_those_of_all_rounds_and_their_spread_that_of_single_ones(self) -> None:
        reference, ours = (
            series("echo", [1.0] * 9, [2.0] * 10),
            series("cue", [3.0] * 9, [4.0] * 10),
        )
        first, second = Comparison("cue", reference, [ours]).rows()
        assert (first.reference, first.x_p50) == (True, None)
        assert second.x_p50 == pytest.approx(2, rel=0.002)
        assert second.spread_p50 == pytest.approx((2, 3), rel=0.002)
        assert second.spread_p99 == pytest.approx((2, 3), rel=0.002)

    def test_of_rates_the_median_round_counts(self) -> None:
        rows = list(Comparison("b", rates("echoes", 10, 30, 20), [rates("cues", 9, 6, 10)]).rows())
        assert (rows[1].p50, rows[1].x_p50, rows[1].p99) == (9, 0.45, None)
        assert rows[1].spread_p50 == (0.2, 0.9)

    @pytest.mark.parametrize(
        ("goal", "met", "said"),
        [
            (Goal("x p50", most=1.6), True, "x p50 <= 1.6 met"),
            (Goal("x p50", most=1.4), False, "x p50 <= 1.4 missed"),
            (Goal("p50", least=2), True, "p50 >= 2 met"),
            (Goal("p99", least=4), False, "p99 >= 4 missed"),
        ],
    )
    def test_goals_are_met_or_missed(self, goal: Goal, met: bool, said: str) -> None:
        reference, ours = series("echo", [2.0] * 10), series("cue", [3.0] * 10, goals=[goal])
        rows = list(Comparison("cue", reference, [ours]).rows())
        assert [verdict.met for verdict in rows[1].verdicts] == [met]
        assert said in shown(rows)
        assert f"{int(met)} of 1 goals met" in goals_met(rows)
        assert ("cue: cue" in goals_met(rows)) is not met

    def test_a_narrow_terminal_shows_what_matters_in_full(self) -> None:
        goals = [Goal("x p50", most=1.6), Goal("x p99", most=1.1)]
        reference = series("trio.sleep_until", [2.0] * 10)
        ours = series("received to driver", [3.0] * 10, goals=goals)
        text = shown(list(Comparison("everywhere", reference, [ours]).rows()), width=80)
        assert "…" not in text
        assert "1.50" in text
        assert "met missed" in text

    def test_what_stands_beside_two_references_is_told_apart(self) -> None:
        ours = series("cue", [3.0])
        rows = [
            row
            for reference in (series("loop", [2.0]), series("Mosquitto", [1.0]))
            for row in Comparison("fan-out", reference, [ours]).rows()
        ]
        assert len(set(keys(rows))) == 4


class TestWhatHasChanged:
    def test_it_is_the_ratio_where_there_is_one_since_machines_differ(self) -> None:
        before = list(Comparison("b", rates("echoes", 100), [rates("cues", 50)]).rows())
        now = list(Comparison("b", rates("echoes", 200), [rates("cues", 150)]).rows())
        assert "0.500 +50%" in shown(now, before=before)

    def test_what_single_rounds_differ_by_as_well_is_no_change(self) -> None:
        before = list(Comparison("b", None, [rates("cues", 50)]).rows())
        now = list(Comparison("b", None, [rates("cues", 49, 60)]).rows())
        assert "50.0 ~" in shown(now, before=before)

    def test_what_was_not_measured_before_is_new(self) -> None:
        now = list(Comparison("b", None, [rates("cues", 49, 60)]).rows())
        assert "new" in shown(now, before=[])

    def test_a_record_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        goals = [Goal("x p99", most=2)]
        rows = tuple(Comparison("c", series("e", [1.0]), [series("c", [3], goals=goals)]).rows())
        record.write(tmp_path / "a.json", ABOUT, rows)
        kept = record.read(tmp_path / "a.json")
        assert (kept.about, kept.rows) == (ABOUT, rows)

    @pytest.mark.parametrize("content", ["", "{}", '{"about": 1, "rows": []}'])
    def test_a_file_that_is_no_record_is_named(self, tmp_path: Path, content: str) -> None:
        file = tmp_path / "a.json"
        file.write_text(content, encoding="utf-8")
        with pytest.raises(Unreadable, match=r"a\.json is not what --json writes"):
            record.read(file)


class TestThePicture:
    def test_times_are_drawn_beside_what_was_only_counted(self, tmp_path: Path) -> None:
        # matplotlib takes a second to load, in whichever process collects this.
        from simulators.latency.picture import draw  # noqa: PLC0415

        late = series("late", [3.0, 4.0], goals=[Goal("x p99", most=2)])
        errors = Series("errors", "", [[0.0]], [Goal("p50", most=0)])
        times = Comparison("together", series("alone", [1.0, 2.0]), [late, errors])
        rate = rates("of 1", 5, goals=[Goal("x p50", least=0.5)])
        figures = Comparison("allocate", rates("empty", 9), [rate, errors])
        draw(tmp_path / "a.png", [times, figures], ABOUT)
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


class TestRounds:
    def test_all_sides_take_turns_and_the_first_round_warms_up(self) -> None:
        turns: list[str] = []

        def turn(what: str) -> Batch:
            turns.append(what)
            return {what: [float(len(turns))]}

        run = Run(2, 1, (), lambda _: None, lambda _: None)
        rounds = run.rounds_of("b", lambda: turn("echo"), lambda: turn("cue"))
        assert turns == ["echo", "cue"] * 3
        assert rounds.series(Figure("echo", "/s")).rounds == [[3.0], [5.0]]

    def test_a_load_that_is_busy_itself_is_remarked_on(self) -> None:
        remarks: list[str] = []
        run = Run(1, 1, (), lambda _: None, remarks.append)

        def turn() -> Batch:
            with run.effort:
                sum(range(3_000_000))
            return {"sums": [1.0]}

        effort = run.rounds_of("b", turn).series(Figure("sums", "/s")).effort
        assert effort is not None
        assert bool(remarks) == (effort > 0.8)


class TestLoads:
    def test_a_schedule_has_one_moment_in_each_interval_whatever_happens(self) -> None:
        found = moments(1000, per_s=100)
        assert [int(moment * 100) for moment in found] == list(range(1000))
        assert len({round(moment * 100 % 1, 2) for moment in found}) > 50
        assert found == moments(1000, per_s=100)

    def test_of_answers_in_pieces_and_of_several_in_one_each_is_counted(self) -> None:
        good = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nOK"
        bad = b"HTTP/1.1 409 Conflict\r\ncontent-length: 0\r\n\r\n"
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def answer() -> None:
                with listening.accept()[0] as client:
                    for pieces in ((good[:20], good[20:]), (bad,), (good,)):
                        client.recv(4096)
                        for piece in pieces:
                            client.sendall(piece)

            server = threading.Thread(target=answer)
            server.start()
            till = Till(f"http://127.0.0.1:{listening.getsockname()[1]}", 1)
            rung = till.ring([post("/allocate", {"qty": 1})] * 3)
            till.close()
            server.join()
        assert (rung.errors, len(rung.took_ms)) == (1, 3)

    @pytest.mark.skipif(not IS_POSSIBLE, reason="takes epoll")
    def test_an_audience_has_heard_when_its_last_has_whoever_that_is(self) -> None:
        audience = Audience()
        speakers = []
        for _ in range(3):
            ours, theirs = socket.socketpair()
            speakers.append(ours)
            audience.join(_Ear(theirs))
        for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
            for number in order:
                speakers[number].sendall(b"pine")
            audience.wait()
            assert audience.text() == b"pine"
        audience.close()
        for speaker in speakers:
            speaker.close()


class _Ear:
    def __init__(self, side: socket.socket) -> None:
        self.fileno, self.close, self._side = side.fileno, side.close, side

    def text(self) -> bytes:
        return self._side.recv(100)

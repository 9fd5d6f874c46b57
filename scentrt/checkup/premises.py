"""What is to be thought of the theatre, its files, addresses and time: pure, facts to findings."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from scentrt.adapters.database_facts import DatabaseContents, DatabaseFacts
from scentrt.checkup.findings import Finding, green, many, red, yellow
from scentrt.checkup.machine import AddressFacts, ClockFacts
from scentrt.domain.layout import TheatrePlan

FREE_MB = 100
"""A season's doses and some logs; with less, the disk is full before anybody looks again."""

YEARS = range(2025, 2100)
"""A clock outside of these was never set."""

AHEAD_S = 5.0
"""How far a dose may lie ahead: clocks are set right by seconds while servers run."""

LATE_MS = 20.0
"""From here on it is worth a word: cues that wait for their time go out as late."""


# The theatre


def judge_theatre(plan: TheatrePlan, *, simulate: bool) -> Finding:
    """Say how big the theatre is, and whether its seats have dispensers."""
    seats = [seat for zone in plan.zones for seat in zone.seat_ids()]
    devices = {seat for zone in plan.zones for seat in zone.devices}
    without = set(seats) - devices - {seat for zone in plan.zones for seat in zone.opted_out}
    found = (
        f"{plan.name!r}: {many(len(plan.zones), 'zone')}, {many(len(seats), 'seat')}, "
        f"{len(devices) or 'none'} with a device"
    )
    if simulate:
        return yellow(
            "theatre",
            f"{found}; the dispensers are simulated",
            "take 'simulate' out of the settings before an audience comes",
        )
    if without:
        some = ", ".join([seat for seat in seats if seat in without][:3])
        return yellow(
            "theatre",
            found,
            f"give {some}{' and others' if len(without) > 3 else ''} their devices, under "
            "'devices' of the zone in the theatre file",
        )
    return green("theatre", found)


# Files, addresses and the database


def judge_addresses(
    gateway: AddressFacts, http: AddressFacts, *, scentrt_there: bool, holder: str
) -> list[Finding]:
    """Say whether a server can listen at both addresses, or does.

    `scentrt_there` is whether a ScentRT answers over HTTP, and `holder` who has the database open.
    """
    findings = [
        _judge_address(facts, scentrt_there=scentrt_there, holder=holder)
        for facts in (gateway, http)
    ]
    if gateway.port and (gateway.host, gateway.port) == (http.host, http.port):
        found = f"{_shown(http)} is the gateway's address already"
        findings[1] = red(http.field, found, _another(http))
    return findings


def _judge_address(facts: AddressFacts, *, scentrt_there: bool, holder: str) -> Finding:
    address = _shown(facts)
    if not facts.problem:
        found = f"{facts.host}, a free port" if facts.port == 0 else f"{address} is free"
        return green(facts.field, found)
    if not facts.in_use:
        return red(facts.field, f"cannot listen on {address}: {facts.problem}", _another(facts))
    if not scentrt_there:
        return red(
            facts.field,
            f"another program listens on {address}",
            f"stop that program, or {_another(facts)}",
        )
    if not holder:
        return yellow(
            facts.field,
            f"{address} is in use, and a ScentRT runs there that has another database",
            f"stop that server, or {_another(facts)}",
        )
    return green(facts.field, f"a server runs on {address}")


def _shown(facts: AddressFacts) -> str:
    return f"{f'[{facts.host}]' if ':' in facts.host else facts.host}:{facts.port}"


def _another(facts: AddressFacts) -> str:
    return f"choose another with --{facts.field} HOST:PORT"


def judge_database(facts: DatabaseFacts | None) -> list[Finding]:
    """Say whether the database is whole and can be written, and whether the disk has room."""
    if facts is None:
        return [
            yellow(
                "database",
                "in memory, so doses and a panic are forgotten when the server stops",
                "name a file with --db",
            )
        ]
    return [_judge_file(facts), _judge_disk(facts)]


def _judge_file(facts: DatabaseFacts) -> Finding:
    if not facts.writable:
        return red(
            "database",
            f"{facts.path} cannot be written by this user, or the folder around it",
            "run ScentRT as the owner of both, or name another file with --db",
        )
    if facts.contents is None:
        return green("database", f"{facts.path} will be made")
    if facts.contents.flaws:
        return red(
            "database",
            f"{facts.path} is damaged: {facts.contents.flaws[0]}",
            "restore a copy, or move it away and begin with an empty one",
        )
    by_whom = f", in use by the server with process id {facts.holder}" if facts.holder else ""
    if facts.contents.flaws is None:
        return yellow(
            "database",
            f"{facts.path}{by_whom}, too big to be checked in a second",
            f"check it when there is time: scentrt db check --db {facts.path}",
        )
    state = "is still empty" if facts.contents.new else "is whole"
    return green("database", f"{facts.path} {state}{by_whom}")


def _judge_disk(facts: DatabaseFacts) -> Finding:
    free_mb = facts.free_bytes // 1_000_000
    found = f"{free_mb:,} MB free in {facts.path.parent}"
    if free_mb < FREE_MB:
        return red("disk", found, f"make room: ScentRT wants {FREE_MB} MB, logs included")
    return green("disk", found)


# Time


def judge_clock(facts: ClockFacts) -> Finding:
    """Say whether the clock can be believed."""
    right = "set the clock, and have it kept right: sudo timedatectl set-ntp true"
    now = _moment(facts.now_s)
    if now.year not in YEARS:
        return red("clock", f"it is set to the year {now.year}", right)
    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if facts.synchronised is None:
        return green("clock", f"{shown}; this system does not say whether it is kept right")
    if not facts.synchronised:
        return yellow("clock", f"{shown}; nothing keeps it right", right)
    return green("clock", f"{shown}, synchronised")


def judge_doses(contents: DatabaseContents, now_s: float) -> Finding:
    """Say whether the doses on record are of the past, as they must be to be over one day."""
    if contents.latest_dose_ms is None:
        return green("doses", "none on record")
    until = _moment(contents.latest_dose_ms / 1_000)
    shown = f"on record until {until:%Y-%m-%d %H:%M:%S} UTC"
    ahead_s = contents.latest_dose_ms / 1_000 - now_s
    if ahead_s > AHEAD_S:
        return red(
            "doses",
            f"{shown}, which the clock says is still to come",
            "set the clock right; if it is right now, seats may be refused what they have not had "
            "until an hour after that time",
        )
    return green("doses", shown)


def judge_naps(late_ms: Sequence[float]) -> Finding:
    """Say how late this machine wakes from a sleep: as late goes out what waits for its time."""
    busy = "end other programs, or give ScentRT a faster machine"
    if not late_ms:
        return yellow("timer", "not one short sleep came to its end", busy)
    p99 = sorted(late_ms)[int(len(late_ms) * 0.99)]
    found = f"99 of 100 short sleeps end at most {p99:.1f} ms late"
    if p99 > LATE_MS:
        return yellow("timer", found, busy)
    return green("timer", found)


def _moment(unix_s: float) -> datetime:
    # Not fromtimestamp: some systems refuse what lies before 1970, and any what is absurd.
    moment = datetime(1970, 1, 1, tzinfo=UTC)
    try:
        return moment + timedelta(seconds=unix_s)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if unix_s > 0 else moment

"""A forecast for the terminal: a row for each scent in each zone, and then what to do about it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from scentrt.entrypoints.forecast_answer import Dry, NewVials, Outlook, ScentOutlook

BAR = 8
"""Characters of the bar that stands for all that is in the vials."""

_EIGHTHS = " ▏▎▍▌▋▊▉█"

NAMES_SHOWN = 3


def show(console: Console, outlook: Outlook, lines: Sequence[int]) -> None:
    """Print a forecast; `lines` are those on which the cues stand in their file."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        caption="Dose-seconds; the most that the cues can need: dose limits and clearing are not "
        "simulated.",
        caption_justify="left",
        caption_style="dim",
    )
    table.add_column("zone", overflow="fold", min_width=4)
    table.add_column("scent", overflow="fold", min_width=8)
    table.add_column("needed", justify="right", no_wrap=True)
    table.add_column("in vials", justify="right", no_wrap=True)
    table.add_column("the show takes", no_wrap=True)
    table.add_column("runs dry", justify="right", no_wrap=True)
    table.add_column("load", overflow="fold")
    for scent in outlook.scents:
        table.add_row(
            escape(scent.zone),
            escape(scent.scent),
            amount(scent.needed_s),
            "none" if scent.present_s is None else amount(scent.present_s),
            _share(scent),
            "" if scent.runs_dry is None else Text(position(scent.runs_dry.at_ms), "bold red"),
            Text(", ".join(f"{load.vials:,} {load.sku}" for load in scent.load)),
        )
    if outlook.scents:
        console.print(table)
    for detail in [*_details(outlook.scents), *_unsprayed(outlook.unsprayed, lines)]:
        console.print(detail, soft_wrap=True)
    console.print(_conclusion(outlook), soft_wrap=True)


def position(at_ms: float) -> str:
    """Return a position in the show as m:ss, and from an hour on as h:mm:ss."""
    minutes, seconds = divmod(int(at_ms // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def amount(dose_s: float) -> str:
    """Return dose-seconds, to a tenth where they are few."""
    return f"{dose_s:,.0f}" if dose_s >= 100 or dose_s == int(dose_s) else f"{dose_s:,.1f}"


def _taken(scent: ScentOutlook) -> float:
    """Return what part of what is in the vials is asked of them."""
    return (scent.needed_s - scent.uncounted_s) / scent.present_s if scent.present_s else 0.0


def _share(scent: ScentOutlook) -> Text:
    if scent.present_s is None:
        return Text("not counted", "dim")
    if not scent.present_s:
        return Text("all is empty", "red")
    taken = _taken(scent)
    return Text.assemble((_bar(taken), "green" if scent.lasts else "red"), f" {taken:4.0%}")


def _bar(share: float) -> str:
    eighths = min(BAR * 8, max(1, round(share * BAR * 8)))
    full, rest = divmod(eighths, 8)
    return ("█" * full + _EIGHTHS[rest].strip()).ljust(BAR, "░")


def _details(scents: Iterable[ScentOutlook]) -> Iterator[Text]:
    """Say what does not fit into the table."""
    for scent in scents:
        name = f"{scent.zone} {scent.scent}: "
        if scent.runs_dry is not None:
            load = "; ".join(_in_words(load) for load in scent.load) or "no product would do"
            yield Text.assemble((name, "red"), f"{_who(scent, scent.runs_dry)}; {load}")
        if scent.uncounted_seats and scent.present_s is not None:
            yield Text(f"{name}not counted at {_seats(scent.uncounted_seats)} with no vial", "dim")


def _who(scent: ScentOutlook, dry: Dry) -> str:
    at = f"at {position(dry.at_ms)}"
    if len(dry.seats) == scent.seats and scent.seats > NAMES_SHOWN:
        return f"all {_seats(scent.seats)} run dry {at}"
    later = scent.short_seats - len(dry.seats)
    return f"{_some(dry.seats)} {at}" + (f", {_seats(later)} later" if later else "")


def _in_words(load: NewVials) -> str:
    words = f"load {load.vials:,} {load.sku} at {_seats(load.seats)}"
    return f"{words}, {load.during_show:,} of them during the show" if load.during_show else words


def _unsprayed(places: Sequence[int], lines: Sequence[int]) -> Iterator[Text]:
    if places:
        which = _some([f"cue {place + 1} (line {lines[place]})" for place in places])
        yield Text.assemble(
            ("No seat gets ", "yellow"), f"{which}: those meant lack the scent, or are left out."
        )


def _conclusion(outlook: Outlook) -> Text:
    cues = f"{outlook.cues:,} cue{'' if outlook.cues == 1 else 's'}"
    show = f"{cues} over {position(outlook.ends_ms)}"
    dry = [(it.runs_dry.at_ms, it.scent, it.zone) for it in outlook.scents if it.runs_dry]
    if dry:
        at_ms, scent, zone = min(dry)
        first = f" for {show}: from {position(at_ms)} on there is too little {scent} in zone {zone}"
        more = f" ({len(dry) - 1} more later)" if len(dry) > 1 else ""
        remedy = _remedy(outlook.scents)
        return Text.assemble(("It does not last", "bold red"), first, more, ". ", remedy)
    counted = [scent for scent in outlook.scents if scent.present_s is not None]
    if not counted:
        why = " no vials are loaded at these seats, and they count as never empty."
        return Text.assemble(("Nothing is counted", "bold yellow"), f" of {show}:", why)
    most = max(counted, key=_taken)
    closest = f"{most.scent} in zone {most.zone}, of which it takes {_taken(most):.0%}"
    return Text.assemble(("It lasts", "bold green"), f" for {show}. The closest is {closest}.")


def _remedy(scents: Iterable[ScentOutlook]) -> str:
    vials: Counter[str] = Counter()
    helpless: dict[str, None] = {}
    for scent in scents:
        for load in scent.load:
            vials[load.sku] += load.vials
        if scent.short_seats > sum(load.seats for load in scent.load):
            helpless[scent.scent] = None
    said = []
    if vials:
        said.append(f"Load {', '.join(f'{count:,} {sku}' for sku, count in vials.items())}.")
    if helpless:
        said.append(
            f"For {_some(list(helpless))} the theatre file has no [[products]] that would do."
        )
    return " ".join(said)


def _seats(count: int) -> str:
    return f"{count:,} seat{'' if count == 1 else 's'}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more

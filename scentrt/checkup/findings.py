"""Findings: what the operator is told of one thing, and whether it is in order."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Whether something is in order: GREEN it is, YELLOW it works but, RED it does not."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line for the operator: what was found, and where that is not green, what to do."""

    subject: str
    verdict: Verdict
    found: str
    fix: str = ""


def green(subject: str, found: str) -> Finding:
    """Return a finding that is in order."""
    return Finding(subject, Verdict.GREEN, found)


def yellow(subject: str, found: str, fix: str) -> Finding:
    """Return a finding with which the theatre runs, but."""
    return Finding(subject, Verdict.YELLOW, found, fix)


def red(subject: str, found: str, fix: str) -> Finding:
    """Return a finding with which the theatre does not run."""
    return Finding(subject, Verdict.RED, found, fix)


def many(number: int, what: str) -> str:
    """Return a number of things in words: `1 seat`, `2 seats`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

"""What is wrong with settings and files, in the words of whoever wrote them."""

import json
import re
import textwrap
from collections.abc import Collection
from difflib import get_close_matches

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from scentrt.errors import ConfigError


class Section(BaseModel):
    """A part of a file: it has the fields that it has, and none that is misspelt."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def matching(pattern: str, what: str) -> AfterValidator:
    """Return a validator that says in words what it wants, where a pattern would say nothing."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(what)
        return text

    return AfterValidator(check)


def config_error(file: str, error: ValidationError, *models: type[BaseModel]) -> ConfigError:
    """Say the first thing that is wrong: once that is mended, the next is easier to understand.

    `models` are those that the settings were read by, for the names that could be meant.
    """
    known = {name for model in models for name in model.model_fields}
    # A name that is misspelt is why another one is missing.
    first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    field = ""
    for part in first["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else str(part)
    where = ": ".join(part for part in (file, field) if part)
    return ConfigError(where or "settings", _problem(first, known))


def _problem(error: ErrorDetails, known: Collection[str]) -> str:
    name, given, facts = str(error["loc"][-1]), error["input"], error.get("ctx", {})
    match error["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return unknown(name, known)
        case "tuple_type" if isinstance(given, dict):
            return f"expected a list: write [[{name}]], with two brackets on each side"
        case "value_error":
            expected = str(facts["error"])
        case kind:
            ours = _EXPECTED.get(kind, "").format(**facts)
            expected = ours or error["msg"].removeprefix("Input should be ")
    if name in {"sha256", "password"} or "keys" in error["loc"]:
        return f"expected {expected}"  # what stands there is a secret, or may be one
    shown = textwrap.shorten(json.dumps(given, default=str, ensure_ascii=False), 60)
    return f"expected {expected}, not {shown}"


def unknown(name: str, known: Collection[str]) -> str:
    """Say that there is no setting of this name, and which one may be meant."""
    alike = get_close_matches(name, known, n=1)
    hint = f"did you mean {alike[0]!r}?" if alike else "is it misspelt?"
    return f"there is no such setting; {hint}"


_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text in quotes",
    "string_too_short": "some text",
    "string_too_long": "at most {max_length} characters",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "too_short": "at least {min_length} in the list",
    "too_long": "at most {max_length} in the list",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
}
"""What Pydantic calls by these names, as the writer of a file would say it."""

"""Knows the values that the body and the query of a request may have, and the message for each that is refused.
Must not know the use of any value."""

import json
import re
import reprlib
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Final, NoReturn
from urllib.parse import parse_qs

from ._catalog import Definition
from ._http import Request
from ._schedule import Schedule

MAX_PAGE: Final = 10_000
_DIGITS: Final = re.compile("[0-9]{1,100}")
_BARE_NAME: Final = re.compile("(?=.{8,128}$)result_[a-z0-9_]*[a-z0-9]", re.DOTALL)
_DATE: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_RFC_3339: Final = re.compile(
    f"{_DATE.pattern}[Tt][0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(\\.[0-9]+)?([Zz]|[+-][0-9]{{2}}:[0-9]{{2}})"
)
_ABSENT: Final = object()


class BadRequestError(ValueError):
    """The request is refused with 400 and this message."""


def json_object(request: Request) -> dict[str, object]:
    """The body of *request*; none is an empty object."""
    if not request.body:
        return {}
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise BadRequestError(f"Content-Type must be application/json, not {media_type or 'absent'}")
    try:
        body: object = json.loads(request.body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequestError("the body must be a JSON object")
    return body


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def tier_of(values: Mapping[str, object], tiers: tuple[str, ...], refused: tuple[str, ...] = ()) -> str | None:
    """The performance tier in the request; None where there is none. The account's plan lacks those in *refused*."""
    asked = values.get("performance", _ABSENT)
    if asked is _ABSENT:
        return None
    if asked in refused:
        raise BadRequestError("Invalid performance tier")
    if not isinstance(asked, str) or asked not in tiers:
        raise BadRequestError(f"performance must be one of {', '.join(tiers)}, not {reprlib.repr(asked)}")
    return asked


def bare_name_of(body: Mapping[str, object]) -> str:
    """The name of the view to create, without the account's part."""
    name = body.get("name")
    if not isinstance(name, str) or not _BARE_NAME.fullmatch(name):
        rule = "result_ and more, 8 to 128 lower-case letters, digits and underscores, without an underscore at the end"
        raise BadRequestError(f"name must be {rule}, not {reprlib.repr(name)}")
    return name


def definition_of(body: Mapping[str, object], tier_of: Callable[[Mapping[str, object]], str | None]) -> Definition:
    """The definition of the view to create."""
    query_id, is_private = body.get("query_id"), body.get("is_private", False)
    if isinstance(query_id, bool) or not isinstance(query_id, int) or query_id < 1:
        raise BadRequestError(f"query_id must be the number of a query, not {reprlib.repr(query_id)}")
    if not isinstance(is_private, bool):
        raise BadRequestError(f"is_private must be true or false, not {reprlib.repr(is_private)}")
    tier = tier_of(body)
    schedule = _schedule_of(body, tier)
    return Definition(query_id=query_id, is_private=is_private, performance=tier, schedule=schedule)


def _schedule_of(body: Mapping[str, object], tier: str | None) -> Schedule | None:
    expires_at = _expiry_of(body)
    if "cron_expression" not in body:
        if expires_at:
            raise BadRequestError("expires_at needs a cron_expression beside it")
        return None
    expression = body["cron_expression"]
    if not isinstance(expression, str):
        raise BadRequestError(f"cron_expression must be a text of five fields, not {reprlib.repr(expression)}")
    try:
        return Schedule(cron_expression=expression, performance=tier, expires_at=expires_at)
    except ValueError as error:
        raise BadRequestError(str(error)) from None


def _expiry_of(body: Mapping[str, object]) -> datetime | None:
    if "expires_at" not in body:
        return None
    text = body["expires_at"]
    try:
        if isinstance(text, str) and _RFC_3339.fullmatch(text):
            return datetime.fromisoformat(text.upper())
    except ValueError:  # the 40th of a month
        pass
    raise BadRequestError(f"expires_at must be a time like 2027-01-01T00:00:00Z, not {reprlib.repr(text)}")


def days_of(body: Mapping[str, object]) -> tuple[date | None, date | None]:
    """The first and the last day of the usage to report."""
    start, end = _day_of(body, "start_date"), _day_of(body, "end_date")
    if start and end and end < start:
        raise BadRequestError("end_date must not be before start_date")
    return start, end


def _day_of(body: Mapping[str, object], field: str) -> date | None:
    if field not in body:
        return None
    text = body[field]
    try:
        if isinstance(text, str) and _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:  # the 40th of a month
        pass
    raise BadRequestError(f"{field} must be a day like 2026-11-01, not {reprlib.repr(text)}")


def page_of(request: Request) -> tuple[int, int]:
    """The size of a page of views, and the number of views before it."""
    values = query_values(request, "limit", "offset")
    limit = _whole_number(values, "limit", default=MAX_PAGE)
    if not 1 <= limit <= MAX_PAGE:
        raise BadRequestError(f"limit must be from 1 to {MAX_PAGE}, not {limit}")
    return limit, _whole_number(values, "offset", default=0)


def _whole_number(values: Mapping[str, str], field: str, *, default: int) -> int:
    text = values.get(field)
    if text is None:
        return default
    if not _DIGITS.fullmatch(text):
        raise BadRequestError(f"{field} must be a whole number, not {reprlib.repr(text)}")
    return int(text)


def query_values(request: Request, *known: str) -> dict[str, str]:
    """The parameters in the query; of several values for one name, the first.

    Unlike Dune, the sandbox refuses those that are not *known*: a test should notice a parameter without effect.
    """
    try:
        values = parse_qs(request.query, keep_blank_values=True, errors="strict")
    except ValueError:
        raise BadRequestError("the query is not percent-encoded UTF-8") from None
    for name in values.keys() - known:
        raise BadRequestError(f"the parameters are {', '.join(known)}; there is no {reprlib.repr(name)}")
    return {name: first for name, [first, *_] in values.items()}


def query_id_of(segment: str) -> int:
    """The number of a query in a path."""
    if not _DIGITS.fullmatch(segment.removeprefix("-")):
        raise BadRequestError(f"a query has a whole number, not {reprlib.repr(segment)}")
    return int(segment)


def check_parameters(values: Mapping[str, str]) -> None:
    """Check that a query's own parameters are a JSON object, which is all that the sandbox knows of them."""
    text = values.get("query_parameters", "{}")
    try:
        parameters: object = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        parameters = None
    if not isinstance(parameters, dict):
        raise BadRequestError(f"query_parameters must be a JSON object, not {reprlib.repr(text)}")

"""Plan files: their contents, the places of their mistakes, and plans written from a lineage."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews import InvalidArgumentError
from dune_matviews.plan import RefreshPlan, format_plan, read_plan

WHOLE = """\
max_parallel = 2
max_credits = 200
max_forecast = 150
max_age = "6h"
timeout = "1h30m"
journal = "state/refresh.jsonl"
if_running = "adopt"
if_lost = "resend"
retry_failed = true
performance = "medium"
dune_plan = "plus"

[views."dune.t.base"]

[views."dune.t.daily"]
reads = ["dune.t.base", "dune.t.base"]
performance = "large"
"""


def plan(folder: Path, text: str | bytes) -> Path:
    """A plan file of that text."""
    path = folder / "plan.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_plan_says_everything_that_a_run_needs(tmp_path: Path) -> None:
    """A plan has views with the views they read, a tier for each, and limits; the journal lies beside it."""
    found = read_plan(plan(tmp_path, WHOLE))
    assert found.views == {"dune.t.base": (), "dune.t.daily": ("dune.t.base",)}
    assert found.dune_plan == "plus"
    assert found.options == {
        "max_parallel": 2,
        "max_credits": 200,
        "max_forecast": 150,
        "max_age": timedelta(hours=6),
        "timeout": timedelta(minutes=90),
        "journal": tmp_path / "state/refresh.jsonl",
        "if_running": "adopt",
        "if_lost": "resend",
        "retry_failed": True,
        "performance": {"dune.t.base": "medium", "dune.t.daily": "large"},
    }


def test_a_plan_may_say_nothing_but_views(tmp_path: Path) -> None:
    """Missing keys take the SDK's defaults."""
    assert read_plan(plan(tmp_path, "[views.a]")) == RefreshPlan(views={"a": ()}, options={}, dune_plan=None)


MISTAKES = [
    ("max_paralel = 3", "1: a plan has no 'max_paralel'; did you mean max_parallel?"),
    ("colour = 3", "1: a plan has no 'colour'; it may have views, performance, "),
    ("max_parallel = 0", "1: max_parallel must be a whole number, one or more, not 0"),
    ("max_parallel = true", "1: max_parallel must be a whole number, one or more, not True"),
    ("max_credits = -1", "1: max_credits must be a number of credits, zero or more, not -1"),
    ("max_credits = nan", "1: max_credits must be a number of credits, zero or more, not nan"),
    ("max_age = 6", '1: max_age must be a text such as "90s"'),
    ('timeout = "6"', "1: timeout cannot be used: '6' has no unit"),
    ("journal = ''", "1: journal must be the path of a file"),
    ('if_running = "stop"', "1: if_running must be one of start, adopt, refuse, not 'stop'"),
    ('if_lost = "stop"', "1: if_lost must be one of raise, resend, not 'stop'"),
    ('retry_failed = "yes"', "1: retry_failed must be true or false, not 'yes'"),
    ('performance = "huge"', "1: performance must be one of small, medium, large, not 'huge'"),
    ('[views.b]\nreads = "a"', "2: reads must be an array of names of views, not 'a'"),
    ("[views.b]\nreads = [\n1]", "3: reads must be names of views, not 1"),
    ('[views.b]\nreads = [\n"a",\n"aa"]', "4: the plan has no view 'aa'; did you mean 'a'?"),
    ('[views.b]\nreads = ["xyz"]', "2: the plan has no view 'xyz'; add [views.\"xyz\"], or take it out"),
    ("[views.b]\nread = []", "2: a view has no 'read'; did you mean reads?"),
    ("[views]\nb = []", "2: 'b' must be a table"),
    ("[views.dune.my_team.b]", '1: the name of a view stands in quotes: write [views."dune.my_team.b"]'),
    ('[views.b]\nreads = ["\\u001b\\""]', r"""2: the plan has no view '\x1b"'; add [views."\U0000001b\""]"""),
    ('[views.b]\nreads = {b = "a"}', "2: reads must be an array of names of views"),
    ('[views." "]', "1: ' ' is not the name of a view"),
    ('[views."b\\u0007"]', "1: 'b\\x07' is not the name of a view"),
    ('[views.b]\n\nreads = ["c"]\n[views.c]\nreads = ["b"]', "views read each other in a circle: "),
]


@pytest.mark.parametrize(("text", "says"), MISTAKES)
def test_a_mistake_is_told_with_its_line(text: str, says: str, tmp_path: Path) -> None:
    """A mistake is reported with file, line, problem and remedy."""
    path = plan(tmp_path, f"{text}\n[views.a]\n")
    with pytest.raises(InvalidArgumentError) as caught:
        read_plan(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}:")
    assert says in line


def test_a_circle_is_told_where_one_of_its_views_says_what_it_reads(tmp_path: Path) -> None:
    """The line is one on which the circle can be cut."""
    path = plan(tmp_path, '[views.b]\n\nreads = ["c"]\n[views.c]\nreads = ["b"]')
    with pytest.raises(
        InvalidArgumentError, match=r":(3: .*circle: b reads c reads b|5: .*circle: c reads b reads c)$"
    ):
        read_plan(path)


def test_all_mistakes_are_told_at_once_in_their_order(tmp_path: Path) -> None:
    """A file is mended in one go; of very many mistakes, the first are enough."""
    path = plan(tmp_path, 'max_credits = -1\n[views.a]\nreads = ["b"]\nperformance = 1')
    with pytest.raises(InvalidArgumentError) as caught:
        read_plan(path)
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["1", "3", "4"]
    path = plan(tmp_path, "".join(f"k{number} = 1\n" for number in range(1000)) + "[views.a]")
    with pytest.raises(InvalidArgumentError, match=r"there are more mistakes$") as caught:
        read_plan(path)
    assert len(str(caught.value).splitlines()) == 21


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"\xef\xbb\xbfa = 1", ":1: a plan has no 'a'"),
        ("", ":1: it has no views"),
        ("views = {}", ":1: it has no views"),
        ("views = 3", ":1: views must be a table of views"),
        ("a = 1\nb = = 2", r":2: Invalid value \(column 5\)"),
        ("a = [\n1,\n", r":3: Unclosed array|:3: .*"),
        (b"a = 1\n\xff = 2", ":2: this is no UTF-8 text"),
        ("a = " + "[" * 100_000, ": its arrays or tables are nested too deeply"),
        ("a = " + "{a=" * 2000 + "1" + "}" * 2000, ": its arrays or tables are nested too deeply"),
        (".".join("a" * 50_000) + " = 1", ": a name has more than 100 parts"),
        ("[views." + ".".join("a" * 200) + "]", ": a name has more than 100 parts"),
        ("max_credits = 1" + "0" * 5000, ": it has a number of thousands of digits"),
        ("max_parallel = -1" + "0" * 400, f":1: max_parallel must be .* not -1{'0' * 98}…"),
        ("max_credits = " + "[" * 300 + "]" * 300, rf":1: max_credits must be .* not {'.' * 100}…"),
        ("#" * 1_000_001, ": it is larger than 1 MB"),
        ('x = """\n' + "a\n" * 5000 + '"""\n', ":1: a plan has no 'x'"),
        ("\n".join(f'[views.v{n}]\nreads = ["v{(n + 1) % 99}"]' for n in range(99)), "v3 reads v4 reads … reads v0$"),
    ],
)
def test_what_is_no_plan_is_told(text: str | bytes, says: str, tmp_path: Path) -> None:
    """Syntax, encoding and emptiness have a line, too."""
    with pytest.raises(InvalidArgumentError, match=says):
        read_plan(plan(tmp_path, text))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The reason is the system's own."""
    with pytest.raises(InvalidArgumentError, match=r"plan\.toml: it cannot be read: No such file"):
        read_plan(tmp_path / "plan.toml")


names = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda name: name.strip() and name.isprintable())


@given(st.lists(names, unique=True, min_size=1, max_size=8), st.data())
def test_lineage_written_is_a_plan_read(
    tmp_path_factory: pytest.TempPathFactory, views: list[str], data: st.DataObject
) -> None:
    """For all names and readings, the written file is read as the same plan, upstream first."""
    lineage = {
        name: tuple(data.draw(st.lists(st.sampled_from(views[:place]), unique=True))) if place else ()
        for place, name in enumerate(views)
    }
    shuffled = {name: lineage[name] for name in data.draw(st.permutations(views))}
    found = read_plan(plan(tmp_path_factory.getbasetemp(), format_plan(shuffled)))
    assert dict(found.views) == lineage
    order = list(found.views)
    assert all(order.index(each) < order.index(name) for name, reads in lineage.items() for each in reads)

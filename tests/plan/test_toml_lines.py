"""The line of each key in a TOML text."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dune_matviews.plan._toml_lines import line_of

TEXT = """\
# a comment
first = 1
inline = { a = 1, b = 2 }

[views."x.y"]
reads = [  # one a line
  "a",

  "b",
]
text = \"\"\"
views
\"\"\"
[views.z]
[[tables]]
k = 1
[[tables]]
k = 2"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("first",), 2),
        (("inline", "b"), 3),
        (("views",), 5),
        (("views", "x.y", "reads"), 6),
        (("views", "x.y", "reads", 0), 7),
        (("views", "x.y", "reads", 1), 9),
        (("views", "x.y", "text"), 11),
        (("views", "z"), 14),
        (("tables", 1, "k"), 18),
        (("views", "z", "absent"), 14),
        (("absent",), 1),
    ],
)
def test_the_line_of_a_thing_is_found(path: tuple[str | int, ...], line: int) -> None:
    """Keys, tables and elements of arrays are found in their lines, and absent ones in their tables."""
    assert line_of(TEXT, path) == line
    assert line_of(TEXT.replace("\n", "\r\n"), path) == line


names = st.text(alphabet="abc", min_size=1, max_size=3)


@given(st.lists(names, unique=True, min_size=1), st.data())
def test_a_key_on_a_line_of_its_own_is_found_on_it(keys: list[str], data: st.DataObject) -> None:
    """However many lines there are, each key is found on its own."""
    text = "\n\n".join(f"{key} = 1" for key in keys)
    assert tomllib.loads(text)
    key = data.draw(st.sampled_from(keys))
    assert line_of(text, (key,)) == 1 + 2 * keys.index(key)

"""Attempts to inject commands through a spec's text, all of which stay text.
Must not know how changes are found."""

import json
import re
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.spec.full import full_spec
from tools.change import Change, Effect, Rank
from tools.changes import compare
from tools.document import METHODS, Document
from tools.summary import MOST, Summary
from tools.telling import block, code, line
from tools.wrapper import Used

HOSTILE = [
    "@everybody",
    "x` @everybody `",
    "``` @everybody ```",
    "`",
    "\\` @everybody",
    "Fixes #1",
    "</code></details><img src=x onerror=alert(1)>",
    "a\n\n<details>\n@everybody",
    "a\n::set-output name=x::y",
    "::stop-commands::x",
    "##[add-mask]x",
    "\x1b[2J\x1b]0;x\x07",
    "\u202egnp.exe",
    "[x](https://dune.test)",
    "$`x`$",
    "| a | b |",
    "",
    " ",
]


@pytest.mark.parametrize("text", HOSTILE)
@given(after=st.text(max_size=20))
def test_nothing_leaves_a_code_span(text: str, after: str) -> None:
    """For any content, a code span is one to Markdown: it ends in its place, and is complete."""
    shown = code(text + after)
    (paragraph, inline, end) = MarkdownIt("commonmark").parse(f"- {shown}: told")[2:5]
    assert (paragraph.type, end.type) == ("paragraph_open", "paragraph_close")
    assert [(each.type, each.content) for each in inline.children or () if each.type != "code_inline"] in (
        [("text", ": told")],
        [("text", "an empty text: told")],
    )


@given(st.text())
def test_a_line_is_one_and_is_printable(text: str) -> None:
    """The shown text has no control characters, no line ends, and no commands to a workflow's log."""
    assert line(text).isprintable()
    assert "##[" not in line(text)
    assert not [each for each in block(text).splitlines() if each.lstrip().startswith("::")]


def test_a_message_of_several_lines_keeps_them() -> None:
    """Only text that would be a command is escaped."""
    assert block("one\n  two\n  ::error::three") == "one\n  two\n|   ::error::three"


STRUCTURE = {
    *("paths", "components", "schemas", "parameters", "requestBody", "responses", "content", "schema", "properties"),
    *("type", "format", "enum", "items", "description", "summary", "required", "in", "name", "nullable"),
    *("allOf", "anyOf", "oneOf", "additionalProperties", *METHODS),
}


class Attacker:
    """Puts a hostile word, marked, behind each name and each text of a spec, which stays one spec."""

    def __init__(self) -> None:
        self._words = cycle(HOSTILE)
        self._names: dict[str, str] = {}

    def word(self) -> str:
        """The next one."""
        return f"MARK{next(self._words)}MARK"

    def spoil(self, node: Any) -> Any:
        """Return a copy of *node* that is full of them."""
        if isinstance(node, dict):
            if "$ref" in node:
                before, _, name = node["$ref"].rpartition("/")
                return {"$ref": f"{before}/{self._name(name)}"}
            return {self._name(key): self.spoil(part) for key, part in node.items()}
        if isinstance(node, list):
            return [self.spoil(part) for part in node]
        return node + self.word() if isinstance(node, str) else node

    def _name(self, key: str) -> str:
        if key in STRUCTURE:
            return key
        return self._names.setdefault(key, key + self.word().replace("/", ""))


def texts_outside_code(markdown: str) -> str:
    """Return the parts of *markdown* outside code spans, including HTML."""
    found: list[str] = []
    for token in MarkdownIt("commonmark").parse(markdown):
        found += [token.content] if token.type == "html_block" else []
        found += [each.content for each in token.children or () if each.type != "code_inline"]
    return "\n".join(found)


def summary_of(changes: list[Change], **more: Any) -> Summary:
    """Return a summary of *changes*."""
    nothing: Document = {key: [] for key in ("ages", "misfits", "broken", "notes", "rules")}
    return Summary("2031-02-03", more.pop("sources", ["dune.yaml"]), changes, **nothing | more)


def test_no_word_of_a_hostile_spec_is_heard() -> None:
    """From names, values and texts, wherever they stand, nothing is left outside of code spans, nor is a command."""
    old = full_spec()
    attacker = Attacker()
    new = attacker.spoil(old)
    # The same names, and other texts, types and values for all of them.
    newer = json.loads(json.dumps(new).replace("MARKMARK", "MARK` @everybody <b>MARK"))
    newer["paths"] = {path: content for path, content in newer["paths"].items() if "usage" not in path}
    changes = [*compare(old, new, Used()), *compare(new, old, Used()), *compare(new, newer, Used())]
    told = [attacker.word() for _ in HOSTILE]
    summary = summary_of(changes, sources=told, misfits=told, broken=told, notes=told, rules=told)
    markdown = "\n".join([*map(str, changes), summary.full(), summary.short()])
    assert markdown.count("MARK") > 1000
    assert "MARK" not in texts_outside_code(markdown)
    assert not re.search(r"^\s*::|##\[", markdown, re.MULTILINE)


def test_a_summary_fits_a_pull_request() -> None:
    """However much there is to tell, it ends between two lines, and says that there is more."""
    many = [Change(Effect.NONE, f"GET /{number}", code("x" * 200), Rank.NEW) for number in range(1000)]
    told = summary_of(many).full()
    assert MOST - 300 < len(told.encode()) < MOST + 100
    *_, last, empty, more = told.splitlines()
    assert re.fullmatch(r"- `GET /\d+`: `x{200}`", last)
    assert (empty, more) == ("", "There is more than a pull request takes.")


def test_what_matters_comes_first_and_the_rest_is_folded() -> None:
    """Changes to look at come first, then facts to fix, then additions; long lists are folded and counted."""
    changes = [
        Change(Effect.BREAKING, "GET /a", "removed", Rank.LOOK),
        Change(Effect.NONE, "GET /b", "response `202` added", Rank.GAIN),
        Change(Effect.NONE, "GET /c", "added", Rank.NEW),
        Change(Effect.GENERATED, "GET /d", "removed"),
        Change(Effect.NONE, "d", "schema added"),
    ]
    summary = summary_of(changes, ages=["`dune.yaml` is older"], broken=["mend it"], notes=["a"], rules=["b", "c"])
    head = """# Dune's spec as of 2031-02-03

From `dune.yaml`. 5 changes, 1 of them to look at, 1 breaking for users of dune_matviews.

## Look here

- `dune.yaml` is older
- **breaking**: `GET /a`: removed

## To fix before `make check` passes

- `mend it`

## New in what we use

- `GET /b`: response `202` added

## New elsewhere

- `GET /c`: added
"""
    assert summary.short() == (
        f"{head}\nAnd 2 other changes (1 breaking for users of dune_api alone), 1 note on additions.yaml and "
        "overlay.yaml, 2 lines on what the general rules did.\n"
    )
    assert summary.full() == (
        f"""{head}
<details>
<summary>2 other changes (1 breaking for users of dune_api alone)</summary>

- **breaking for users of dune_api alone**: `GET /d`: removed
- `d`: schema added

</details>

<details>
<summary>1 note on additions.yaml and overlay.yaml</summary>

- `a`

</details>

<details>
<summary>2 lines on what the general rules did</summary>

- `b`
- `c`

</details>
"""
    )

"""Compares two versions of a spec, and judges the effect of each difference on users.
Must not know any operation by name, nor where the versions came from."""

from collections.abc import Iterator

from tools.additions import keep_path
from tools.change import Change, Effect, Rank, announces, change, gain, matters
from tools.document import (
    Document,
    copy,
    operations,
    reachable,
    resolve,
    schema_name,
    schemas,
    shape,
    spread_path_parameters,
)
from tools.parts import parameters, remainders, texts
from tools.schemas import details, differences, parts_of, type_of
from tools.telling import code, turned
from tools.wrapper import Used

NONE: Document = {}


def compare(old: Document, new: Document, used: Used, ours: frozenset[str] = frozenset()) -> list[Change]:
    """Return the differences between *old* and *new*, the most important first.

    Args:
        old: the spec as it was published before.
        new: the spec as it is published now.
        used: the parts of both that the wrapper uses.
        ours: the shapes of the operations that we describe because Dune does not publish them.
    """
    old, new = copy(old), copy(new)
    for document in (old, new):
        spread_path_parameters(document)
    found: list[Change] = []
    for call in (str(each) for each in operations(old)):
        new, other = keep_path(new, call)
        if other:
            found.append(change(call, f"called {code(other)} now, which is the same request"))
    comparison = _Comparison(old, new, used, ours)
    found += [*comparison.operations(), *comparison.schemas()]
    for key in sorted((old.keys() | new.keys()) - {"paths", "components"}) if old else ():
        for where, one, other in details(old.get(key), new.get(key)):
            # The wrapper has the server's address, too.
            told = turned(one, other)
            found.append(change(key, f"{code(where)} {told}" if where else told, hurts=key == "servers", used=True))
    return ordered(found)


def ordered(found: list[Change]) -> list[Change]:
    """Sort *found* by importance, then by the users each change breaks."""
    effects = list(Effect)
    return sorted(found, key=lambda each: (each.rank, effects.index(each.effect)))


class _Comparison:
    def __init__(self, old: Document, new: Document, used: Used, ours: frozenset[str]) -> None:
        self._old, self._new, self._used, self._ours = old, new, used, ours
        # A schema that is sent is judged as a request, even if it also occurs in responses.
        self._sent = {name for document in (old, new) for name in reachable(document, _bodies(document))}
        calls = [[each.content for each in operations(one) if str(each) in used.operations] for one in (old, new)]
        self._touched = {*used.operations, *reachable(old, calls[0]), *reachable(new, calls[1])}

    def operations(self) -> Iterator[Change]:
        before, after = ({str(each): each.content for each in operations(each)} for each in (self._old, self._new))
        for name in sorted(before.keys() | after.keys()):
            used, described = name in self._used.operations, shape(name) in self._ours
            if name not in before:
                summary = after[name].get("summary")
                what = "published now" if described else f"added: {code(summary)}" if summary else "added"
                yield change(name, what, rank=Rank.GAIN if described else Rank.NEW)
            elif name not in after and described:
                yield change(name, "no longer published; additions.yaml describes it still", look=True)
            elif name not in after:
                yield change(name, "removed", hurts=True, used=used)
            else:
                yield from _or_else(name, before[name], after[name], self._operation(name, before[name], after[name]))

    def _operation(self, name: str, before: Document, after: Document) -> Iterator[Change]:
        yield from self._deprecation(name, "", before, after, name in self._used.operations)
        yield from self._parameters(name, before, after)
        yield from self._body(name, before, after)
        yield from self._responses(name, before, after)
        old, new = texts(self._old, before), texts(self._new, after)
        for place in sorted(old.keys() & new.keys()):
            if new[place] != old[place]:
                look = name in self._touched and announces(str(old[place]), str(new[place]))
                yield change(name, f"{place} {turned(old[place], new[place])}", look=look)
        rest, other = remainders(self._old, before), remainders(self._new, after)
        for what in sorted(rest.keys() & other.keys()):
            yield from _details(name, what, rest[what], other[what])

    def schemas(self) -> Iterator[Change]:
        before, after = schemas(self._old), schemas(self._new)
        for name in sorted(before.keys() | after.keys()):
            if name not in before:
                yield change(name, "schema added")
            elif name not in after:
                used = any(schema == name for schema, _ in self._used.properties)
                yield change(name, "schema removed", hurts=True, used=used)
            else:
                found = self._schema(name, before[name], after[name], name in self._sent)
                yield from _or_else(name, before[name], after[name], found)

    def _deprecation(self, name: str, what: str, old: Document, new: Document, used: bool) -> Iterator[Change]:
        if bool(old.get("deprecated")) != bool(new.get("deprecated")):
            told = f"{what} is " if what else ""
            yield change(name, f"{told}{'' if new.get('deprecated') else 'no longer '}deprecated", look=used)

    def _parameters(self, name: str, before: Document, after: Document) -> Iterator[Change]:
        old, new = parameters(self._old, before), parameters(self._new, after)
        for key in sorted(old.keys() | new.keys()):
            place, parameter = key
            used = name in self._used.operations
            what = f"parameter {code(parameter)} ({code(place)})"
            if key not in old:
                required = bool(new[key].get("required"))
                told = f"{what} added: {code(type_of(new[key].get('schema', NONE)))}{', required' if required else ''}"
                yield change(name, told, hurts=required, used=used, look=used and matters(parameter), rank=gain(used))
            elif key not in new:
                yield change(name, f"{what} removed", hurts=True, used=(name, parameter) in self._used.parameters)
            else:
                asked = bool(old[key].get("required")), bool(new[key].get("required"))
                if asked[0] != asked[1]:
                    told = f"{what} is {'' if asked[1] else 'no longer '}required"
                    yield change(name, told, hurts=asked[1], used=used, look=used)
                passed = (name, parameter) in self._used.parameters
                yield from self._deprecation(name, what, old[key], new[key], passed)
                pair = old[key].get("schema", NONE), new[key].get("schema", NONE)
                yield from self._values(name, what, *pair, True, passed)
                yield from self._within(name, *pair, True, parameter, passed)

    def _values(self, name: str, what: str, old: Document, new: Document, sent: bool, used: bool) -> Iterator[Change]:
        """Compare the values that two schemas allow."""
        yield from self._deprecation(name, what, old, new, used)
        for hurts, told in differences(old, new, sent):
            news = told.endswith(" added") and (used or name in self._touched)
            joint = "" if not what else ": " if told.startswith("`") else " "
            yield change(name, f"{what}{joint}{told}", hurts=hurts, used=used, rank=gain(news))

    def _body(self, name: str, before: Document, after: Document) -> Iterator[Change]:
        old, new = (
            resolve(document, content.get("requestBody", NONE))
            for document, content in ((self._old, before), (self._new, after))
        )
        used = name in self._used.operations
        if bool(old.get("required")) != bool(new.get("required")):
            required = bool(new.get("required"))
            told = f"body is {'' if required else 'no longer '}required"
            yield change(name, told, hurts=required, used=used, look=used)
        yield from self._contents(name, "body", old.get("content", NONE), new.get("content", NONE), sent=True)

    def _responses(self, name: str, before: Document, after: Document) -> Iterator[Change]:
        old, new = before.get("responses", NONE), after.get("responses", NONE)
        used = name in self._used.operations
        for status in sorted(old.keys() | new.keys()):
            what = f"response {code(status)}"
            if status not in old:
                yield change(name, f"{what} added", rank=gain(used))
            elif status not in new:
                yield change(name, f"{what} removed", hurts=status.startswith("2"), used=used)
            else:
                contents = resolve(self._old, old[status]), resolve(self._new, new[status])
                old_content, new_content = (content.get("content", NONE) for content in contents)
                # The wrapper reads errors regardless of their declared schema.
                yield from self._contents(name, what, old_content, new_content, sent=False, read=status == "200")

    def _contents(
        self, name: str, what: str, old: Document, new: Document, *, sent: bool, read: bool = True
    ) -> Iterator[Change]:
        used = name in self._used.operations and read
        if list(old) == ["*/*"] and len(new) == 1 and new.keys() != old.keys():
            (named,) = new  # a type was declared before, and the new one is not the same
            yield change(name, f"{what} is {code(named)} now, and was {code('*/*')}")
            old = {named: old["*/*"]}
        for media_type in sorted(old.keys() | new.keys()):
            if media_type not in old:
                yield change(name, f"{what} as {code(media_type)} added", rank=gain(used))
            elif media_type not in new:
                yield change(name, f"{what} as {code(media_type)} removed", hurts=True, used=used)
            else:
                one, other = (each[media_type].get("schema", NONE) for each in (old, new))
                if schema_name(one) != schema_name(other) or schema_name(one) is None:
                    for each in self._schema(name, one, other, sent):
                        hurts = each.effect is not Effect.NONE
                        yield change(name, f"{what}: {each.what}", hurts=hurts, used=used, rank=gain(used))

    def _schema(self, name: str, old: Document, new: Document, sent: bool) -> Iterator[Change]:
        yield from self._values(name, "", old, new, sent, False)
        if old.get("description") != new.get("description"):
            yield change(name, f"its description {turned(old.get('description'), new.get('description'))}")
        yield from self._within(name, old, new, sent, "", False)

    def _within(self, name: str, old: Document, new: Document, sent: bool, inside: str, used: bool) -> Iterator[Change]:
        """Compare the schemas within two schemas, at the path *inside* of *name*."""
        before, after = old.get("properties", NONE), new.get("properties", NONE)
        asked = set(old.get("required", ())), set(new.get("required", ()))
        where = f"{inside}." if inside else ""
        body, touched = name in self._used.bodies, name in self._touched
        for key in sorted(before.keys() | after.keys()):
            what, read = f"property {code(f'{where}{key}')}", (name, key) in self._used.properties
            if key not in before:
                needed = key in asked[1]
                told = f"{what} added: {code(type_of(after[key]))}{', required' if needed else ''}"
                look = body and matters(key)
                yield change(name, told, hurts=sent and needed, used=body, look=look, rank=gain(touched))
            elif key not in after:
                told = f"{what} removed (it was {code(type_of(before[key]))})"
                yield change(name, told, hurts=True, used=read)
            else:
                yield from self._property(name, key, before[key], after[key], what, sent)
                if (key in asked[0]) != (key in asked[1]):
                    hurts = sent and key in asked[1]
                    told = f"{what} is {'' if key in asked[1] else 'no longer '}required"
                    yield change(name, told, hurts=hurts, used=body, look=body or read)
                if type_of(before[key]) == type_of(after[key]):
                    yield from self._within(name, before[key], after[key], sent, f"{where}{key}", read)
        others = parts_of(new)
        for mark, part in parts_of(old).items():
            if mark in others and type_of(part) == type_of(others[mark]):  # else the change of type was reported
                what = code(f"{inside}{mark}")
                yield from self._values(name, what, part, others[mark], sent, used)
                if part.get("description") != others[mark].get("description"):
                    yield change(name, f"{what} {turned(part.get('description'), others[mark].get('description'))}")
                yield from self._within(name, part, others[mark], sent, f"{inside}{mark}", used)

    def _property(self, name: str, key: str, old: Document, new: Document, what: str, sent: bool) -> Iterator[Change]:
        used = (name, key) in self._used.properties
        yield from self._values(name, what, old, new, sent, used)
        before, after = (" ".join(each.get("description", "").split()) for each in (old, new))
        if before != after:
            sentence = self._used.sentences.get((name, key), "")
            lost = bool(sentence) and sentence in before and sentence not in after
            look = name in self._touched and announces(before, after)
            yield change(name, f"the description of {what} {turned(before, after)}", hurts=lost, used=True, look=look)


def _or_else(name: str, before: Document, after: Document, found: Iterator[Change]) -> Iterator[Change]:
    """Yield *found*, or the raw differences if no rule describes the change."""
    told = list(found)
    yield from told
    if not told:
        yield from _details(name, "", before, after)


def _details(name: str, what: str, before: Document, after: Document) -> Iterator[Change]:
    for where, old, new in details(before, after):
        yield change(name, f"{what}{code(where)} {turned(old, new)}")


def _bodies(document: Document) -> list[Document]:
    return [each.content["requestBody"] for each in operations(document) if "requestBody" in each.content]

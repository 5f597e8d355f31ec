"""Knows how two versions of a spec differ, in the field's words, and what each difference does to users.
Must not know any operation by name, nor where the versions came from."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tools.additions import keep_path
from tools.document import (
    Document,
    copy,
    operations,
    reachable,
    resolve,
    schema_name,
    schemas,
    spread_path_parameters,
)
from tools.schemas import differences, parts_of, type_of
from tools.wrapper import Used

NONE: Document = {}


class Effect(StrEnum):
    """Whom a change breaks."""

    BREAKING = "breaking"
    GENERATED = "breaking for users of dune_api alone"
    NONE = "not breaking"


@dataclass(frozen=True)
class Change:
    """One difference: in what, and which."""

    effect: Effect
    subject: str
    what: str

    def __str__(self) -> str:
        return f"- **{self.effect}**: {self.subject}: {self.what}"


def compare(old: Document, new: Document, used: Used) -> list[Change]:
    """Return how *new* differs from *old*, what breaks the wrapper first."""
    old, new = copy(old), copy(new)
    for document in (old, new):
        spread_path_parameters(document)
    found: list[Change] = []
    for call in (str(each) for each in operations(old)):
        new, other = keep_path(new, call)
        if other:
            found.append(Change(Effect.NONE, f"`{call}`", f"called `{other}` now, which is the same request"))
    comparison = _Comparison(old, new, used)
    found += [*comparison.operations(), *comparison.schemas()]
    for key in sorted((old.keys() | new.keys()) - {"paths", "components"}) if old else ():
        if old.get(key) != new.get(key):
            # Where Dune is reached stands in the wrapper as well.
            effect = Effect.BREAKING if key == "servers" else Effect.NONE
            found.append(Change(effect, f"`{key}`", f"is {new.get(key)} now, and was {old.get(key)}"))
    order = list(Effect)
    return sorted(found, key=lambda change: order.index(change.effect))


class _Comparison:
    def __init__(self, old: Document, new: Document, used: Used) -> None:
        self._old, self._new, self._used = old, new, used
        # A schema that is sent is judged by what it asks for, whatever else it is used for.
        self._sent = {name for document in (old, new) for name in reachable(document, _bodies(document))}

    def operations(self) -> Iterator[Change]:
        before, after = ({str(each): each.content for each in operations(each)} for each in (self._old, self._new))
        for name in sorted(before.keys() | after.keys()):
            used = name in self._used.operations
            if name not in before:
                yield Change(Effect.NONE, f"`{name}`", "added")
            elif name not in after:
                yield Change(_effect(True, used), f"`{name}`", "removed")
            else:
                yield from _or_else(name, before[name], after[name], self._operation(name, before[name], after[name]))

    def _operation(self, name: str, before: Document, after: Document) -> Iterator[Change]:
        yield from self._parameters(name, before, after)
        yield from self._body(name, before, after)
        yield from self._answers(name, before, after)
        yield from self._texts(name, before, after)
        if after.get("deprecated") and not before.get("deprecated"):
            yield Change(Effect.NONE, f"`{name}`", "deprecated")

    def _texts(self, name: str, before: Document, after: Document) -> Iterator[Change]:
        old, new = _texts(self._old, before), _texts(self._new, after)
        for place, told in old.items():
            if new.get(place, told) != told:
                yield Change(Effect.NONE, f"`{name}`", f"{place} changed")

    def schemas(self) -> Iterator[Change]:
        before, after = schemas(self._old), schemas(self._new)
        for name in sorted(before.keys() | after.keys()):
            if name not in before:
                yield Change(Effect.NONE, f"`{name}`", "schema added")
            elif name not in after:
                used = any(schema == name for schema, _ in self._used.properties)
                yield Change(_effect(True, used), f"`{name}`", "schema removed")
            else:
                found = self._schema(name, before[name], after[name], name in self._sent)
                yield from _or_else(name, before[name], after[name], found)

    def _parameters(self, name: str, before: Document, after: Document) -> Iterator[Change]:
        old, new = _parameters(self._old, before), _parameters(self._new, after)
        for key in sorted(old.keys() | new.keys()):
            place, parameter = key
            used = name in self._used.operations
            subject, what = f"`{name}`", f"parameter `{parameter}` ({place})"
            if key not in old:
                required = bool(new[key].get("required"))
                told = f"{what} added: {type_of(new[key].get('schema', NONE))}{', required' if required else ''}"
                yield Change(_effect(required, used), subject, told)
            elif key not in new:
                yield Change(_effect(True, (name, parameter) in self._used.parameters), subject, f"{what} removed")
            else:
                asked = bool(old[key].get("required")), bool(new[key].get("required"))
                if asked[0] != asked[1]:
                    told = f"{what} is {'' if asked[1] else 'no longer '}required"
                    yield Change(_effect(asked[1], used), subject, told)
                passed = (name, parameter) in self._used.parameters
                schemas = old[key].get("schema", NONE), new[key].get("schema", NONE)
                for hurts, told in differences(*schemas, True):
                    yield Change(_effect(hurts, passed), subject, f"{what} {told}")
                yield from self._within(name, *schemas, True, parameter, passed)

    def _body(self, name: str, before: Document, after: Document) -> Iterator[Change]:
        old, new = (
            resolve(document, content.get("requestBody", NONE))
            for document, content in ((self._old, before), (self._new, after))
        )
        used = name in self._used.operations
        if bool(old.get("required")) != bool(new.get("required")):
            required = bool(new.get("required"))
            yield Change(_effect(required, used), f"`{name}`", f"body is {'' if required else 'no longer '}required")
        yield from self._contents(name, "body", old.get("content", NONE), new.get("content", NONE), sent=True)

    def _answers(self, name: str, before: Document, after: Document) -> Iterator[Change]:
        old, new = before.get("responses", NONE), after.get("responses", NONE)
        for code in sorted(old.keys() | new.keys()):
            if code not in old:
                yield Change(Effect.NONE, f"`{name}`", f"answer {code} added")
            elif code not in new:
                hurts = code.startswith("2")
                yield Change(_effect(hurts, name in self._used.operations), f"`{name}`", f"answer {code} removed")
            else:
                contents = resolve(self._old, old[code]), resolve(self._new, new[code])
                old_content, new_content = (content.get("content", NONE) for content in contents)
                yield from self._contents(name, f"answer {code}", old_content, new_content, sent=False)

    def _contents(self, name: str, what: str, old: Document, new: Document, *, sent: bool) -> Iterator[Change]:
        # Errors are read by the wrapper whatever they are declared as.
        used = name in self._used.operations and (sent or what == "answer 200")
        if list(old) == ["*/*"] and len(new) == 1 and new.keys() != old.keys():
            (named,) = new  # more than nothing was said before, and nothing else than it may have meant
            yield Change(Effect.NONE, f"`{name}`", f"{what} is {named} now, and was */*")
            old = {named: old["*/*"]}
        for media_type in sorted(old.keys() | new.keys()):
            if media_type not in old:
                yield Change(Effect.NONE, f"`{name}`", f"{what} as {media_type} added")
            elif media_type not in new:
                yield Change(_effect(True, used), f"`{name}`", f"{what} as {media_type} removed")
            else:
                one, other = (each[media_type].get("schema", NONE) for each in (old, new))
                if schema_name(one) != schema_name(other) or schema_name(one) is None:
                    for change in self._schema(name, one, other, sent):
                        effect = Effect.BREAKING if used and change.effect is Effect.GENERATED else change.effect
                        yield Change(effect, change.subject, f"{what}: {change.what}")

    def _schema(self, name: str, old: Document, new: Document, sent: bool) -> Iterator[Change]:
        for hurts, told in differences(old, new, sent):
            yield Change(_effect(hurts, False), f"`{name}`", told)
        if old.get("description") != new.get("description"):
            yield Change(Effect.NONE, f"`{name}`", "its text changed")
        yield from self._within(name, old, new, sent, "", False)

    def _within(self, name: str, old: Document, new: Document, sent: bool, inside: str, used: bool) -> Iterator[Change]:
        """Compare what two schemas declare within; *inside* is where in *name* they are, *used* whether they are."""
        before, after = old.get("properties", NONE), new.get("properties", NONE)
        asked = set(old.get("required", ())), set(new.get("required", ()))
        where = f"{inside}." if inside else ""
        for key in sorted(before.keys() | after.keys()):
            what, read = f"property `{where}{key}`", (name, key) in self._used.properties
            if key not in before:
                needed = sent and key in asked[1]
                told = f"{what} added: {type_of(after[key])}{', required' if key in asked[1] else ''}"
                yield Change(_effect(needed, name in self._used.bodies), f"`{name}`", told)
            elif key not in after:
                yield Change(_effect(True, read), f"`{name}`", f"{what} removed (it was {type_of(before[key])})")
            else:
                yield from self._property(name, key, before[key], after[key], what, sent)
                if (key in asked[0]) != (key in asked[1]):
                    hurts = sent and key in asked[1]
                    told = f"{what} is {'' if key in asked[1] else 'no longer '}required"
                    yield Change(_effect(hurts, name in self._used.bodies), f"`{name}`", told)
                if type_of(before[key]) == type_of(after[key]):
                    yield from self._within(name, before[key], after[key], sent, f"{where}{key}", read)
        others = parts_of(new)
        for mark, part in parts_of(old).items():
            if mark in others and type_of(part) == type_of(others[mark]):  # else that was told of the whole
                for hurts, told in differences(part, others[mark], sent):
                    yield Change(_effect(hurts, used), f"`{name}`", f"`{inside}{mark}` {told}")
                if part.get("description") != others[mark].get("description"):
                    yield Change(Effect.NONE, f"`{name}`", f"`{inside}{mark}` is described otherwise")
                yield from self._within(name, part, others[mark], sent, f"{inside}{mark}", used)

    def _property(self, name: str, key: str, old: Document, new: Document, what: str, sent: bool) -> Iterator[Change]:
        used = (name, key) in self._used.properties
        for hurts, told in differences(old, new, sent):
            yield Change(_effect(hurts, used), f"`{name}`", f"{what} {told}")
        before, after = (" ".join(each.get("description", "").split()) for each in (old, new))
        if before != after:
            sentence = self._used.sentences.get((name, key), "")
            lost = bool(sentence) and sentence in before and sentence not in after
            told = f"{what} is described otherwise: “{before}” is “{after}” now"
            yield Change(Effect.BREAKING if lost else Effect.NONE, f"`{name}`", told)


def _or_else(name: str, before: Document, after: Document, found: Iterator[Change]) -> Iterator[Change]:
    """Go through *found*, or say that there is a change for which there are no words here."""
    told = list(found)
    yield from told
    if not told and before != after:
        yield Change(Effect.NONE, f"`{name}`", "a detail changed, see openapi.yaml")


def _effect(hurts: bool, used: bool) -> Effect:
    if not hurts:
        return Effect.NONE
    return Effect.BREAKING if used else Effect.GENERATED


def _texts(document: Document, content: Document) -> dict[str, object]:
    """Return what is said in words of an operation, its parameters, body and answers."""
    parts = {"body": content.get("requestBody", NONE)}
    parts |= {f"answer {code}": answer for code, answer in content.get("responses", NONE).items()}
    parts |= {f"parameter `{name}` ({place})": each for (place, name), each in _parameters(document, content).items()}
    found: dict[str, object] = {"its text": (content.get("summary"), content.get("description"))}
    return found | {f"the text of {what}": resolve(document, each).get("description") for what, each in parts.items()}


def _parameters(document: Document, content: Document) -> dict[tuple[str, str], Document]:
    found = (resolve(document, each) for each in content.get("parameters", ()))
    return {(each["in"], each["name"]): each for each in found}


def _bodies(document: Document) -> list[Document]:
    return [each.content["requestBody"] for each in operations(document) if "requestBody" in each.content]

"""Where the user wants operators to run: `--place NODE=TARGET`, by name or pattern."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from vdla.compiler.graph.graph import Graph, Node
from vdla.errors import CompileError

OPTION = "--place"


ASKED_FOR = "asked for: "


def asked_for(reason: str) -> bool:
    """Whether a node is where it is because the user said so."""
    return reason.startswith(ASKED_FOR)


@dataclass(frozen=True, slots=True)
class Wish:
    """pattern: as it was given. target: a target's name. strict: it names nodes, so that a refusal is an error; what a pattern
    happens to match stays elsewhere where the target refuses it."""

    pattern: str
    target: str
    strict: bool = True

    @property
    def reason(self) -> str:
        return f"{ASKED_FOR}{OPTION} {self.pattern}={self.target}"

    def error(self, node: str, why: str) -> CompileError:
        hint = f"leave {OPTION} {self.pattern}={self.target} out"
        return CompileError(f"{node} cannot run on {self.target}: {why}", where=OPTION, hint=hint)


def parse_wishes(texts: Iterable[str], targets: Sequence[str]) -> tuple[Wish, ...]:
    """`["conv1=cpu", "layer4.*=vdla"]`. Raises `CompileError` for what is no such wish, or for another target."""
    wishes = []
    for text in texts:
        pattern, equals, target = text.rpartition("=")
        if not equals or not pattern or target not in targets:
            expected = f"node={' or node='.join(targets)}"
            raise CompileError("not a placement", where=OPTION, found=text, expected=expected)
        wishes.append(Wish(pattern, target))
    return tuple(wishes)


def wishes_for(graph: Graph, wishes: Iterable[Wish]) -> dict[str, Wish]:
    """Node of `graph` → what is wished of it; of several the last. Raises `CompileError` for a name that no node has."""
    names = {node.name: tuple(names_of(node)) for node in graph.nodes}
    found: dict[str, Wish] = {}
    for wish in wishes:
        exact = [name for name, known in names.items() if wish.pattern in known]
        matching = exact or [name for name, known in names.items() if any(fnmatchcase(k, wish.pattern) for k in known)]
        if not matching:
            raise unknown(wish, sorted({name for known in names.values() for name in known}))
        found |= dict.fromkeys(matching, replace(wish, strict=bool(exact)))
    return found


def names_of(node: Node) -> Iterator[str]:
    """What a user may call a node: its name, its source, and of what was fused each part's."""
    yield node.name
    if node.source:
        yield node.source
        yield from node.source.split("+")


def unknown(wish: Wish, known: list[str]) -> CompileError:
    near = difflib.get_close_matches(wish.pattern, known, n=3, cutoff=0.5)
    expected = f"a node's name or a pattern such as {known[0]!r}" if known else "a node's name"
    hint = f"did you mean {' or '.join(near)}?" if near else "vdla run MODEL -v lists them"
    return CompileError("no such node", where=OPTION, found=wish.pattern, expected=expected, hint=hint)

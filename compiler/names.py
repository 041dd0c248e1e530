"""Names that nothing has yet."""

from __future__ import annotations

from collections.abc import Container, Iterable


def unused(wanted: str, taken: Container[str], separator: str = "_") -> str:
    """The first of `wanted`, `wanted_1`, `wanted_2`, … that is not taken."""
    name, count = wanted, 0
    while name in taken:
        count += 1
        name = f"{wanted}{separator}{count}"
    return name


class Names:
    """Hands out names that are not taken, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)

    def fresh(self, wanted: str) -> str:
        name = unused(wanted, self.taken)
        self.taken.add(name)
        return name

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
    """Hands out names that are not taken, each once: `wanted`, `wanted_1`, `wanted_2`, …"""

    def __init__(self, taken: Iterable[str] = (), separator: str = "_") -> None:
        self.taken, self.separator = set(taken), separator
        self.counts: dict[str, int] = {}  # the numbers below are taken: else thousands of one name take a minute

    def fresh(self, wanted: str) -> str:
        name = wanted
        while name in self.taken:
            count = self.counts[wanted] = self.counts.get(wanted, 0) + 1
            name = f"{wanted}{self.separator}{count}"
        self.taken.add(name)
        return name

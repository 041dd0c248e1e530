"""Einsum as transposes, reshapes, products, sums and matrix products.

    "bij,jk->bik"   a: [b, i, j] · c: [j, k]; j is summed: [1, b·i, j] @ [1, j, k]

Operands are taken from the left, two at a time. Of each pair, an axis that only one of them has and nothing later needs is
summed at once; one that both have is a batch of the matrix product where something later needs it, else its inner dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.reduction import emit_reduced
from vdla.compiler.frontend.slicing import emit_slice
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.operator import FLOAT, NUMBER
from vdla.errors import ModelError

ELLIPSIS = "..."


@dataclass(frozen=True)
class Term:
    """A tensor, and a different label for each of its axes."""

    value: Value
    labels: tuple[str, ...]

    def size(self, label: str) -> int:
        return self.value.shape[self.labels.index(label)]


def einsum(builder: GraphBuilder, node: OnnxNode) -> Value:
    equation = node.string("equation", "").replace(" ", "")
    values = [node.input(0, NUMBER)]
    values += [node.input(i, (values[0].dtype,)) for i in range(1, len(node.inputs))]
    inputs, output = parsed(equation, [len(v.shape) for v in values])
    terms = [distinct(builder, value, labels) for value, labels in zip(values, inputs, strict=True)]
    check_sizes(equation, terms)
    total, *others = terms
    for index, other in enumerate(others):
        needed = {*output, *(label for term in others[index + 1 :] for label in term.labels)}
        total = product(builder, total, other, needed)
    return ordered(builder, summed(builder, total, set(output)), output).value


def parsed(equation: str, ranks: Sequence[int]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """The labels of each operand, and of the output; an ellipsis stands for labels "0", "1" …, the last ones its operand has.

    Raises `ModelError`.
    """
    left, arrow, right = equation.partition("->")
    operands = left.split(",")
    if len(operands) != len(ranks):
        raise ModelError("Einsum of another number of operands", found=equation, expected=f"{len(ranks)} of them")
    found = [labels_of(term, rank, equation) for term, rank in zip(operands, ranks, strict=True)]
    spread = max((sum(label.isdigit() for label in labels) for labels in found), default=0)
    inputs = [tuple(renumbered(labels, spread)) for labels in found]
    everything = [label for labels in inputs for label in labels]
    if arrow:
        output = labels_of(right, len(right.replace(ELLIPSIS, "")) + (spread if ELLIPSIS in right else 0), equation)
    else:  # what occurs once, in alphabetical order
        once = sorted(label for label in set(everything) if label.isalpha() and everything.count(label) == 1)
        output = [*map(str, range(spread)), *once]
    if len(set(output)) != len(output) or not set(output) <= set(everything):
        raise ModelError("the output of Einsum", found=equation, expected="different labels that its operands have")
    return inputs, tuple(output)


def labels_of(term: str, rank: int, equation: str) -> list[str]:
    """One label for each axis; those under an ellipsis "0", "1" …"""
    before, dots, after = term.partition(ELLIPSIS)
    letters = before + after
    hidden = rank - len(letters)
    if not all(c.isascii() and c.isalpha() for c in letters) or hidden < 0 or (hidden and not dots):
        raise ModelError(
            "Einsum does not fit its operands", found=equation, expected=f"{rank} letters, or an ellipsis, in {term!r}"
        )
    return [*before, *map(str, range(hidden)), *after]


def renumbered(labels: Sequence[str], spread: int) -> list[str]:
    """Ellipses broadcast from the right: that of fewest axes has the last numbers."""
    missing = spread - sum(label.isdigit() for label in labels)
    return [str(int(label) + missing) if label.isdigit() else label for label in labels]


def check_sizes(equation: str, terms: Sequence[Term]) -> None:
    for label in {label for term in terms for label in term.labels}:
        sizes = {term.size(label) for term in terms if label in term.labels}
        if len(sizes - {1}) > 1:
            raise ModelError(f"sizes of {label!r} in Einsum disagree", found=f"{sorted(sizes)} in {equation}")


def distinct(builder: GraphBuilder, x: Value, labels: tuple[str, ...]) -> Term:
    """x with each label once: of an axis that comes twice, its diagonal, which is every n+1st of n² elements."""
    for label in labels:
        if labels.count(label) > 1:
            first, second = [i for i, other in enumerate(labels) if other == label][:2]
            size = x.shape[first]
            if x.shape[second] != size:
                raise ModelError(f"sizes of {label!r} in Einsum disagree", found=x.shape)
            rest = [i for i in range(len(labels)) if i not in (first, second)]
            last = builder.emit("transpose", [x], suffix="diagonal", permutation=(*rest, first, second))
            rows = builder.emit("reshape", [last], suffix="diagonal", shape=(*last.shape[:-2], size * size))
            region = [slice(0, n, 1) for n in rows.shape[:-1]] + [slice(0, size * size, size + 1)]
            return distinct(builder, emit_slice(builder, rows, region, "diagonal"), (*(labels[i] for i in rest), label))
    return Term(x, labels)


def summed(builder: GraphBuilder, term: Term, needed: set[str]) -> Term:
    """Without the axes that nothing needs."""
    axes = tuple(i for i, label in enumerate(term.labels) if label not in needed)
    value = emit_reduced(builder, "reduce_sum", term.value, axes, False, "sum")
    return Term(value, tuple(label for label in term.labels if label in needed))


def product(builder: GraphBuilder, a: Term, b: Term, needed: set[str]) -> Term:
    """a · b, of the labels that both have and nobody needs the sum."""
    a, b = broadcast_away(builder, a, b), broadcast_away(builder, b, a)
    a, b = (summed(builder, one, needed | set(other.labels)) for one, other in ((a, b), (b, a)))
    shared = [label for label in a.labels if label in b.labels]
    batch, inner = [label for label in shared if label in needed], [label for label in shared if label not in needed]
    rows, columns = ([label for label in one.labels if label not in shared] for one in (a, b))
    labels = (*batch, *rows, *columns)
    if not inner or a.value.dtype not in FLOAT:
        spread = [*batch, *rows, *columns, *inner]
        terms = [aligned(builder, term, spread) for term in (a, b)]
        return summed(builder, Term(builder.emit("mul", terms), tuple(spread)), set(labels))
    left = matrices(builder, a, batch, rows, inner)
    right = matrices(builder, b, batch, inner, columns)
    y = builder.emit("matmul", [left, right])
    sizes = tuple((a if label in a.labels else b).size(label) for label in labels)
    return Term(reshaped(builder, y, sizes), labels)


def broadcast_away(builder: GraphBuilder, a: Term, b: Term) -> Term:
    """a without the axes of 1 along which it is broadcast to b."""
    gone = [label for label in a.labels if label in b.labels and a.size(label) == 1 != b.size(label)]
    kept = tuple(label for label in a.labels if label not in gone)
    return Term(reshaped(builder, a.value, tuple(a.size(label) for label in kept)), kept)


def ordered(builder: GraphBuilder, term: Term, labels: Sequence[str]) -> Term:
    permutation = tuple(term.labels.index(label) for label in labels)
    if permutation == tuple(range(len(permutation))):
        return term
    return Term(builder.emit("transpose", [term.value], suffix="permute", permutation=permutation), tuple(labels))


def aligned(builder: GraphBuilder, term: Term, labels: Sequence[str]) -> Value:
    """With an axis of 1 for each of `labels` that it has not."""
    value = ordered(builder, term, [label for label in labels if label in term.labels]).value
    return reshaped(builder, value, tuple(term.size(label) if label in term.labels else 1 for label in labels))


def matrices(builder: GraphBuilder, term: Term, batch: list[str], rows: list[str], columns: list[str]) -> Value:
    """As a batch of matrices."""
    value = ordered(builder, term, [*batch, *rows, *columns]).value
    return reshaped(builder, value, tuple(prod(map(term.size, labels)) for labels in (batch, rows, columns)))


def reshaped(builder: GraphBuilder, x: Value, shape: tuple[int, ...]) -> Value:
    return x if x.shape == shape else builder.emit("reshape", [x], suffix="reshape", shape=shape)


IMPORTERS: dict[str, Importer] = {"Einsum": einsum}

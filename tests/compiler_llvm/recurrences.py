"""Recurrences and tuple reductions as tensor expressions, with what NumPy computes for them one step after another.

case = CASES["lstm"]()
case.function, case.arrays, case.expected      # expected: an array for each output
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vdla.compiler import te
from vdla.compiler.ir import Expr, Function

RNG = np.random.default_rng(7)


@dataclass(frozen=True)
class Case:
    function: Function
    arrays: list[np.ndarray]
    expected: list[np.ndarray]


def case(name: str, inputs: dict[te.Tensor, np.ndarray], outputs: dict[te.Tensor, np.ndarray]) -> Case:
    function = te.create_function(name, list(inputs), list(outputs))
    return Case(function, list(inputs.values()), list(outputs.values()))


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def like(array: np.ndarray, name: str) -> te.Tensor:
    return te.placeholder(array.shape, str(array.dtype), name)


def constant(shape: tuple[int, ...], value: float, dtype: str, name: str) -> te.Tensor:
    return te.compute(shape, lambda *i: te.const(value, dtype), name)


def first_larger(best: tuple[Expr, ...], new: tuple[Expr, ...]) -> tuple[Expr, Expr]:
    return te.maximum(best[0], new[0]), te.select(new[0] > best[0], new[1], best[1])


def argmax(rows: int = 7, columns: int = 37, dtype: str = "int8") -> Case:
    """Of many equal values the first."""
    data = RNG.integers(-5, 5, (rows, columns)).astype(dtype)
    x, k = like(data, "x"), te.reduce_axis(columns, "k")
    value, index = te.compute(
        (rows,), lambda i: te.reduce_tuple(first_larger, (te.lowest(dtype), -1), (x[i, k], k), k), "largest"
    )
    return case("argmax", {x: data}, {value: data.max(1), index: data.argmax(1).astype(np.int32)})


def argmax_of_columns() -> Case:
    """The last axis is spatial: a vector of indices at once. Only the index is an output."""
    data = RNG.integers(-5, 5, (9, 40)).astype(np.float32)
    x, k = like(data, "x"), te.reduce_axis(9, "k")
    _, index = te.compute(
        (40,), lambda j: te.reduce_tuple(first_larger, (te.lowest("float32"), -1), (x[k, j], k), k), "largest"
    )
    doubled = te.compute((40,), lambda j: index[j] * 2, "doubled")
    return case("argmax_of_columns", {x: data}, {doubled: 2 * data.argmax(0).astype(np.int32)})


def argmin_of_all() -> Case:
    """Over two axes, the position counted through both."""
    data = floats(5, 6)
    x, a, b = like(data, "x"), te.reduce_axis(5, "a"), te.reduce_axis(6, "b")

    def smaller(best: tuple[Expr, ...], new: tuple[Expr, ...]) -> tuple[Expr, Expr]:
        return te.select(new[1] < best[1], new[0], best[0]), te.minimum(best[1], new[1])

    index, value = te.compute(
        (), lambda: te.reduce_tuple(smaller, (0, te.highest("float32")), (a * 6 + b, x[a, b]), [a, b]), "smallest", axes=[]
    )
    return case("argmin_of_all", {x: data}, {value: np.array(data.min()), index: np.array(data.argmin(), np.int32)})


def welford(rows: int = 4, columns: int = 50) -> Case:
    """Mean and variance in one pass, of values far from zero."""
    data = floats(rows, columns) + np.float32(100)
    x, k = like(data, "x"), te.reduce_axis(columns, "k")

    def update(so_far: tuple[Expr, ...], new: tuple[Expr, ...]) -> tuple[Expr, Expr, Expr]:
        (count, mean, squares), value = so_far, new[1]
        distance = value - mean
        moved = mean + distance / (count + 1.0)
        return count + 1.0, moved, squares + distance * (value - moved)

    one = te.const(1.0, "float32")
    _, mean, squares = te.compute((rows,), lambda i: te.reduce_tuple(update, (0, 0, 0), (one, x[i, k], x[i, k]), k), "welford")
    variance = te.compute((rows,), lambda i: squares[i] / float(columns), "variance")
    wide = data.astype(np.float64)
    return case("welford", {x: data}, {mean: wide.mean(1), variance: wide.var(1)})


def cumulative_sum() -> Case:
    data = RNG.integers(-9, 9, (13, 5)).astype(np.int32)
    x, t, total = like(data, "x"), te.scan_axis(13, "t"), te.placeholder((5,), "int32", "total")
    following = te.compute((5,), lambda i: total[i] + x[t, i], "following")
    zero = constant((5,), 0, "int32", "zero")
    _, (sums,) = te.scan(t, [te.State(total, zero, following)], [following])
    return case("cumulative_sum", {x: data}, {sums: data.cumsum(0, dtype=np.int32)})


def linear_recurrence(steps: int = 17) -> Case:
    """h = A·h + x, backwards in time, the initial state computed before and the final one read after."""
    data, matrix, start = floats(steps, 6), floats(6, 6) / np.float32(3), floats(6)
    x, a, h_0 = like(data, "x"), like(matrix, "a"), like(start, "h_0")
    t, k, h = te.scan_axis(steps, "t"), te.reduce_axis(6, "k"), te.placeholder((6,), "float32", "h")
    before = te.compute((6,), lambda i: h_0[i] * 2.0, "before")
    product = te.compute((6,), lambda i: te.sum(a[i, k] * h[k], k), "product")
    h_next = te.compute((6,), lambda i: product[i] + x[steps - 1 - t, i], "h_next")
    (last,), (kept,) = te.scan(t, [te.State(h, before, h_next)], [h_next], "linear")
    after = te.compute((6,), lambda i: last[i] - 1.0, "after")
    state, history = 2 * start.astype(np.float64), []
    for row in data[::-1]:
        state = matrix @ state + row
        history.append(state)
    return case("linear_recurrence", {x: data, a: matrix, h_0: start}, {kept: np.array(history), after: state - 1})


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm(steps: int = 20, batch: int = 3, inputs: int = 10, hidden: int = 16) -> Case:
    data, weights, recurrent = (
        floats(steps, batch, inputs),
        floats(4 * hidden, inputs),
        floats(4 * hidden, hidden) / np.float32(3),
    )
    start, cell_start = floats(batch, hidden), floats(batch, hidden)
    x, w, r = like(data, "x"), like(weights, "w"), like(recurrent, "r")
    h_0, c_0 = like(start, "h_0"), like(cell_start, "c_0")
    h, c = like(start, "h"), like(cell_start, "c")
    t, k, j = te.scan_axis(steps, "t"), te.reduce_axis(inputs, "k"), te.reduce_axis(hidden, "j")
    fed = te.compute((steps, batch, 4 * hidden), lambda s, b, n: te.sum(x[s, b, k] * w[n, k], k), "fed")
    carried = te.compute((batch, 4 * hidden), lambda b, n: te.sum(h[b, j] * r[n, j], j), "carried")
    gates = te.compute((batch, 4 * hidden), lambda b, n: carried[b, n] + fed[t, b, n], "gates")
    c_next = te.compute(
        (batch, hidden),
        lambda b, n: (
            te.sigmoid(gates[b, n + 2 * hidden]) * c[b, n] + te.sigmoid(gates[b, n]) * te.tanh(gates[b, n + 3 * hidden])
        ),
        "c_next",
    )
    h_next = te.compute((batch, hidden), lambda b, n: te.sigmoid(gates[b, n + hidden]) * te.tanh(c_next[b, n]), "h_next")
    (h_last, c_last), (kept,) = te.scan(t, [te.State(h, h_0, h_next), te.State(c, c_0, c_next)], [h_next], "lstm")
    state, cell, history = start.astype(np.float64), cell_start.astype(np.float64), []
    for step in data.astype(np.float64):
        i, o, f, g = np.split(step @ weights.T + state @ recurrent.T, 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        state = sigmoid(o) * np.tanh(cell)
        history.append(state)
    arrays = {x: data, w: weights, r: recurrent, h_0: start, c_0: cell_start}
    return case("lstm", arrays, {kept: np.array(history), h_last: state, c_last: cell})


def bitonic_partners(size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each step of the network and each place its partner, and whether the smaller value goes there."""
    partners, smaller = [], []
    block = 2
    while block <= size:
        distance = block // 2
        while distance:
            places = np.arange(size)
            partner = places ^ distance
            partners.append(partner)
            smaller.append(((places & block) == 0) == (places < partner))
            distance //= 2
        block *= 2
    return np.array(partners, np.int32), np.array(smaller)


def bitonic_sort(rows: int = 3, size: int = 32) -> Case:
    data, (partners, smaller) = RNG.permutation(rows * size).reshape(rows, size).astype(np.float32), bitonic_partners(size)
    x, p, s = like(data, "x"), like(partners, "p"), like(smaller, "s")
    t, v = te.scan_axis(len(partners), "t"), like(data, "v")

    def element(r: Expr, i: Expr) -> Expr:
        other = v[r, te.clip(p[t, i], 0, size - 1)]
        return te.select(s[t, i], te.minimum(v[r, i], other), te.maximum(v[r, i], other))

    exchanged = te.compute((rows, size), element, "exchanged")
    (result,), _ = te.scan(t, [te.State(v, x, exchanged)], name="sort")
    return case("bitonic_sort", {x: data, p: partners, s: smaller}, {result: np.sort(data, axis=1)})


def fibonacci() -> Case:
    """A state that becomes another one, and the order in which they are listed does not matter."""
    t, a, b = te.scan_axis(9, "t"), te.placeholder((), "int32", "a"), te.placeholder((), "int32", "b")
    total = te.compute((), lambda: a[()] + b[()], "total", axes=[])
    ones, x = constant((), 1, "int32", "ones"), te.placeholder((), "int32", "x")
    start = te.compute((), lambda: x[()] + ones[()], "start", axes=[])
    (_, last), (kept,) = te.scan(t, [te.State(a, start, b), te.State(b, ones, total)], [a])
    numbers = [1, 1]
    while len(numbers) < 11:
        numbers.append(numbers[-1] + numbers[-2])
    expected = np.array(numbers, np.int32)
    return case("fibonacci", {x: np.zeros((), np.int32)}, {kept: expected[:9], last: expected[10]})


def histogram(values: int = 40, bins: int = 7) -> Case:
    """One element of the state updated in each step; values beyond the bins count at the ends."""
    data = RNG.integers(-2, bins + 2, values).astype(np.int32)
    x, t, counts = like(data, "x"), te.scan_axis(values, "t"), te.placeholder((bins,), "int32", "counts")
    more = te.compute((), lambda: counts[te.clip(x[t], 0, bins - 1)] + 1, "more", axes=[])
    zero = constant((bins,), 0, "int32", "zero")
    (result,), _ = te.scan(t, [te.State(counts, zero, more, at=lambda: (te.clip(x[t], 0, bins - 1),))])
    return case("histogram", {x: data}, {result: np.bincount(np.clip(data, 0, bins - 1), minlength=bins).astype(np.int32)})


def scatter_rows() -> Case:
    """Whole rows at places that depend on data, later ones over earlier ones."""
    data, updates = floats(5, 18), floats(8, 18)
    places = RNG.integers(0, 5, 8).astype(np.int32)
    x, u, p = like(data, "x"), like(updates, "u"), like(places, "p")
    t, rows = te.scan_axis(8, "t"), like(data, "rows")
    row = te.compute((18,), lambda j: u[t, j], "row")
    (result,), _ = te.scan(t, [te.State(rows, x, row, at=lambda j: (te.clip(p[t], 0, 4), j))])
    expected = data.copy()
    for place, update in zip(places, updates, strict=True):
        expected[place] = update
    return case("scatter_rows", {x: data, u: updates, p: places}, {result: expected})


def matrix_powers() -> Case:
    """A scan in each step of another: s ← s·A three times, then a maximum over the columns, for each of four steps."""
    matrix = floats(4, 4) / np.float32(2)
    a, start = like(matrix, "a"), constant((4,), 1.0, "float32", "start")
    outer, inner = te.scan_axis(4, "outer"), te.scan_axis(3, "inner")
    s, v = te.placeholder((4,), "float32", "s"), te.placeholder((4,), "float32", "v")
    k = te.reduce_axis(4, "k")
    product = te.compute((4,), lambda j: te.sum(v[k] * a[k, j], k), "product")
    (power,), _ = te.scan(inner, [te.State(v, s, product)], name="power")
    clipped = te.compute((4,), lambda j: te.clip(power[j], -2.0, 2.0) + te.cast(outer, "float32"), "clipped")
    (last,), (kept,) = te.scan(outer, [te.State(s, start, clipped)], [clipped])
    state, history = np.ones(4), []
    for step in range(4):
        state = np.clip(state @ np.linalg.matrix_power(matrix.astype(np.float64), 3), -2, 2) + step
        history.append(state)
    return case("matrix_powers", {a: matrix}, {kept: np.array(history), last: state})


def two_scans() -> Case:
    """The second starts where the first ends, and reads all that it kept."""
    data = RNG.integers(-9, 9, (6, 3)).astype(np.int32)
    x = like(data, "x")
    zero = constant((3,), 0, "int32", "zero")
    first, second = te.scan_axis(6, "t"), te.scan_axis(6, "t")
    a, b = te.placeholder((3,), "int32", "a"), te.placeholder((3,), "int32", "b")
    added = te.compute((3,), lambda i: a[i] + x[first, i], "added")
    (total,), (sums,) = te.scan(first, [te.State(a, zero, added)], [added])
    most = te.compute((3,), lambda i: te.maximum(b[i], sums[5 - second, i] - x[second, i]), "most")
    (result,), _ = te.scan(second, [te.State(b, total, most)])
    running = data.cumsum(0)
    return case("two_scans", {x: data}, {result: np.maximum(running[5], (running[::-1] - data).max(0)).astype(np.int32)})


def argmax_in_scan() -> Case:
    """Greedy search: each step goes where the largest entry of the current row points."""
    data = RNG.integers(-50, 50, (6, 6)).astype(np.int32)
    x, t, here = like(data, "x"), te.scan_axis(8, "t"), te.placeholder((), "int32", "here")
    k = te.reduce_axis(6, "k")
    row = te.clip(here[()], 0, 5)
    _, best = te.compute((), lambda: te.reduce_tuple(first_larger, (te.lowest("int32"), 0), (x[row, k], k), k), "best", axes=[])
    _, (path,) = te.scan(t, [te.State(here, constant((), 2, "int32", "start"), best)], [here])
    place, visited = 2, []
    for _ in range(8):
        visited.append(place)
        place = int(data[place].argmax())
    return case("argmax_in_scan", {x: data}, {path: np.array(visited, np.int32)})


CASES: dict[str, Callable[[], Case]] = {
    "argmax": argmax,
    "argmax of floats": lambda: argmax(3, 100, "float32"),
    "argmax of columns": argmax_of_columns,
    "argmin of all": argmin_of_all,
    "welford": welford,
    "cumulative sum": cumulative_sum,
    "linear recurrence": linear_recurrence,
    "one step": lambda: linear_recurrence(1),
    "lstm": lstm,
    "bitonic sort": bitonic_sort,
    "fibonacci": fibonacci,
    "histogram": histogram,
    "scatter rows": scatter_rows,
    "matrix powers": matrix_powers,
    "two scans": two_scans,
    "argmax in scan": argmax_in_scan,
}

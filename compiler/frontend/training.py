"""The standard's training operators: one step of an optimiser, as arithmetic on each of the tensors it trains."""

from __future__ import annotations

from collections.abc import Sequence

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.errors import ModelError

COUNT = ("int64",)


class Arithmetic:
    """Values that numbers can be combined with, in the dtype of the first operand."""

    def __init__(self, builder: GraphBuilder) -> None:
        self.builder = builder

    def __call__(self, op: str, a: Value | float, b: Value | float) -> Value:
        dtype = a.dtype if isinstance(a, Value) else b.dtype if isinstance(b, Value) else "float32"
        operands = [v if isinstance(v, Value) else self.builder.scalar(v, dtype) for v in (a, b)]
        return self.builder.emit(op, operands, suffix=op)

    def mixed(self, weight: float, a: Value, b: Value) -> Value:
        """weight · a + (1 - weight) · b."""
        return self("add", self("mul", a, weight), self("mul", b, 1 - weight))


def groups_of(node: OnnxNode, kinds: int) -> list[list[Value]]:
    """The inputs from the third on: `kinds` of tensors, each once for every tensor to be trained. By tensor."""
    count, rest = divmod(len(node.inputs) - 2, kinds)
    if rest or count < 1:
        raise ModelError(f"inputs of {node.op}", found=len(node.inputs), expected=f"two, and {kinds} for each tensor")
    values = [node.input(index) for index in range(2, len(node.inputs))]
    groups = [values[i::count] for i in range(count)]
    for group in groups:
        if len({(v.shape, v.dtype) for v in group}) > 1:
            raise ModelError(f"tensors of {node.op} differ", found=[v.shape for v in group], expected="one shape and type")
    return groups


def by_kind(results: Sequence[Sequence[Value]]) -> tuple[Value, ...]:
    """Outputs: the first result of every tensor, then the second of each, …"""
    return tuple(value for kind in zip(*results, strict=True) for value in kind)


def rate_and_step(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, Value, Value]:
    """Learning rate, the step's number in the rate's type, and whether it is not the first; of shape () each."""
    rate, step = (builder.emit("reshape", [v], suffix="scalar", shape=()) for v in (node.input(0), node.input(1, COUNT)))
    later = builder.emit("greater", [step, builder.scalar(0, step.dtype)], suffix="later")
    return rate, builder.converted(step, rate.dtype), later


def adagrad(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """Duchi et al., "Adaptive subgradient methods" (2011)."""
    rate, step, _ = rate_and_step(builder, node)
    decay, epsilon, norm = (node.float_(name, value) for name, value in
                            (("decay_factor", 0.0), ("epsilon", 1e-6), ("norm_coefficient", 0.0)))  # fmt: skip
    do = Arithmetic(builder)
    rate = do("div", rate, do("add", do("mul", step, decay), 1))
    results = []
    for x, gradient, squares in groups_of(node, 3):
        regularised = do("add", gradient, do("mul", x, norm))
        total = do("add", squares, do("mul", regularised, regularised))
        scaled = do("div", do("mul", regularised, rate), do("add", builder.emit("sqrt", [total], suffix="root"), epsilon))
        results.append((do("sub", x, scaled), total))
    return by_kind(results)


def adam(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """Kingma and Ba, "Adam: a method for stochastic optimization" (2015); in step 0 without its correction of the bias."""
    rate, step, later = rate_and_step(builder, node)
    alpha, beta, epsilon = node.float_("alpha", 0.9), node.float_("beta", 0.999), node.float_("epsilon", 1e-6)
    norm, norm_after = node.float_("norm_coefficient", 0.0), node.float_("norm_coefficient_post", 0.0)
    do = Arithmetic(builder)
    left = [do("sub", 1, do("pow", builder.scalar(factor, rate.dtype), step)) for factor in (beta, alpha)]
    corrected = do("div", do("mul", rate, builder.emit("sqrt", [left[0]], suffix="root")), left[1])
    rate = builder.emit("where", [later, corrected, rate], suffix="rate")
    results = []
    for x, gradient, momentum, squares in groups_of(node, 4):
        regularised = do("add", gradient, do("mul", x, norm))
        momentum = do.mixed(alpha, momentum, regularised)
        squares = do.mixed(beta, squares, do("mul", regularised, regularised))
        change = do("div", momentum, do("add", builder.emit("sqrt", [squares], suffix="root"), epsilon))
        results.append((do("mul", do("sub", x, do("mul", change, rate)), 1 - norm_after), momentum, squares))
    return by_kind(results)


def momentum(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """Gradient descent with momentum, or Nesterov's; in step 0 the gradient counts whole."""
    rate, _, later = rate_and_step(builder, node)
    alpha, beta, norm = (node.float_(name, 0.0) for name in ("alpha", "beta", "norm_coefficient"))
    mode = node.string("mode", "standard")
    if mode not in ("standard", "nesterov"):
        raise ModelError(f"mode of {node.op}", found=mode, expected="standard or nesterov")
    do = Arithmetic(builder)
    weight = builder.emit("where", [later, *(builder.scalar(v, rate.dtype) for v in (beta, 1.0))], suffix="weight")
    results = []
    for x, gradient, velocity in groups_of(node, 3):
        regularised = do("add", gradient, do("mul", x, norm))
        velocity = do("add", do("mul", velocity, alpha), do("mul", regularised, weight))
        change = velocity if mode == "standard" else do("add", regularised, do("mul", velocity, alpha))
        results.append((do("sub", x, do("mul", change, rate)), velocity))
    return by_kind(results)


IMPORTERS: dict[str, Importer] = {"Adagrad": adagrad, "Adam": adam, "Momentum": momentum}

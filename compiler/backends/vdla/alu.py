"""ALU intrinsics → passes of the two-operand hardware ALU, acc[dst] = acc[dst] OP y.

dst = max(x, y)     where x lies in dst's place        MAX dst, y
                    where y does                       MAX dst, x
                    elsewhere                          MOV dst, x; MAX dst, y
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vdla.compiler.backends.vdla.micro_ops import Order
from vdla.compiler.backends.vdla.sram import COMMUTATIVE, SramPlan
from vdla.compiler.backends.vdla.trace import Item
from vdla.compiler.ir.nodes import attribute
from vdla.errors import CompileError
from vdla.isa.definition import PER_CHANNEL_ALU_OPS, AluOp
from vdla.isa.semantics import clip_immediate

IMM_LOW, IMM_HIGH = -(1 << 15), (1 << 15) - 1
INT8_LOW, INT8_HIGH = -128, 127
REPEATABLE = (AluOp.MIN, AluOp.MAX, AluOp.ADD, AluOp.MUL)
"""Commutative and associative: the order in which several operands meet one dst does not matter."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One operation over all steps of an item. source: operand that is y; None for an immediate."""

    op: AluOp
    source: int | None = None
    imm: int = 0


def alu_passes(item: Item, plan: SramPlan) -> list[Pass]:
    """What the hardware must do for one ALU item, MOVs included.

    Raises `CompileError` when scale words do not follow their biases.
    """
    name = item.nest.name.removeprefix("vdla.alu.")
    operands = len(item.nest.buffers)
    attributes = item.nest.intrinsic.attributes
    if name == "mov":
        if operands == 1:
            return [Pass(AluOp.MOV, None, _number(item, "imm"))]
        return [] if same_place(item, plan, 1) else [Pass(AluOp.MOV, 1)]
    if name in ("requantise", "rescale"):
        _check_parameters(item, plan)
        return _from_x(item, plan, _requantise(item) if name == "requantise" else [Pass(AluOp.RESCALE, 2)])
    if name == "clip":
        return _from_x(item, plan, _clip(_number(item, "low"), _number(item, "high")))
    op = AluOp[name.upper()]
    if op is AluOp.LOOKUP:
        return _from_x(item, plan, [Pass(op)])
    if attribute(attributes, "imm") is not None:
        return _from_x(item, plan, [Pass(op, None, _number(item, "imm"))])
    if item.nest.name in COMMUTATIVE and not same_place(item, plan, 1) and same_place(item, plan, 2):
        return [Pass(op, 1)]
    return _from_x(item, plan, [Pass(op, 2)])


def _number(item: Item, key: str) -> int:
    value = attribute(item.nest.intrinsic.attributes, key)
    if value is None:
        raise CompileError(f"{item.nest.name} lacks an attribute", expected=key)
    return int(value)


def _from_x(item: Item, plan: SramPlan, passes: list[Pass]) -> list[Pass]:
    """`passes` on dst, after moving x there unless it is there."""
    return passes if same_place(item, plan, 1) else [Pass(AluOp.MOV, 1), *passes]


def _clip(low: int, high: int) -> list[Pass]:
    if INT8_LOW <= low <= INT8_HIGH and INT8_LOW <= high <= INT8_HIGH:
        return [Pass(AluOp.CLIP, None, clip_immediate(low, high))]
    return [Pass(AluOp.MAX, None, low), Pass(AluOp.MIN, None, high)]


def _requantise(item: Item) -> list[Pass]:
    low, high = _number(item, "low"), _number(item, "high")
    clip = _clip(low, high)
    if clip[0].op is AluOp.CLIP:
        return [Pass(AluOp.REQUANTISE, 2, clip[0].imm)]
    return [Pass(AluOp.RESCALE, 2), *clip]


def is_wide(p: Pass) -> bool:
    """Does the immediate need a constant tile, being larger than its field?"""
    return p.source is None and not IMM_LOW <= p.imm <= IMM_HIGH


def constant_passes(value: int) -> list[Pass]:
    """Build an int32 constant in one tile from 16-bit immediates."""
    low = ((value & 0xFFFF) ^ 0x8000) - 0x8000
    high = (((value - low) >> 16 & 0xFFFF) ^ 0x8000) - 0x8000
    return [Pass(AluOp.MOV, None, high), Pass(AluOp.SHL, None, 16), Pass(AluOp.ADD, None, low)]


# -- places and orders --------------------------------------------------------------------------------------------------


def _distance(item: Item, plan: SramPlan, operand: int) -> int | None:
    """How many entries `operand`'s base lies after dst's; None when they can never meet."""
    dst, other = item.nest.buffers[0], item.nest.buffers[operand]
    if plan.storage[dst] != plan.storage[other]:
        return None
    return plan.base[other] + item.bases[operand] - plan.base[dst] - item.bases[0]


def same_place(item: Item, plan: SramPlan, operand: int) -> bool:
    """Does every step find `operand` in the very tile it writes?"""
    distance = _distance(item, plan, operand)
    return distance is not None and bool((item.pattern.steps[operand] + distance == item.pattern.steps[0]).all())


def order_of(item: Item, plan: SramPlan, p: Pass) -> Order:
    """What may be permuted among the steps of one pass."""
    if p.source is None:
        return Order.FREE
    dst = item.pattern.steps[0]
    unique = len(item.pattern.footprints[0]) == len(dst)
    distance = _distance(item, plan, p.source)
    free = Order.SLOW_SOURCE if p.op in PER_CHANNEL_ALU_OPS else Order.FREE
    if distance is None or not _meet(item, p, distance):
        return free if unique or p.op in REPEATABLE else Order.FIXED
    in_place = unique and same_place(item, plan, p.source) and p.op not in PER_CHANNEL_ALU_OPS
    return free if in_place else Order.FIXED


def _meet(item: Item, p: Pass, distance: int) -> bool:
    """Is any tile both written and read as y?"""
    assert p.source is not None
    read = item.pattern.footprints[p.source] + distance
    if p.op in PER_CHANNEL_ALU_OPS:
        read = np.concatenate([read, read + 1])
    return bool(np.isin(read, item.pattern.footprints[0]).any())


def separable(item: Item, plan: SramPlan, passes: list[Pass]) -> bool:
    """May each pass run over all steps before the next pass begins?"""
    if len(passes) < 2:
        return True
    sources = [p for p in passes if p.source is not None]
    distances = [(p, _distance(item, plan, p.source)) for p in sources if p.source is not None]
    apart = all(d is None or not _meet(item, p, d) for p, d in distances)
    return apart and len(item.pattern.footprints[0]) == item.pattern.count


def step_passes(item: Item, plan: SramPlan, passes: list[Pass], step: int) -> list[Pass]:
    """`passes` for one step alone, when they move x to a dst that may be where y lies.

    Raises `CompileError` when it is and the operands may not be swapped.
    """
    if len(passes) < 2 or passes[0] != Pass(AluOp.MOV, 1) or passes[1].source is None:
        return passes
    distance = _distance(item, plan, passes[1].source)
    if distance is None:
        return passes
    offset = int(item.pattern.steps[passes[1].source, step] + distance - item.pattern.steps[0, step])
    if offset == 0 and item.nest.name in COMMUTATIVE:
        return [Pass(passes[1].op, 1), *passes[2:]]
    if offset == 0 or (offset == -1 and passes[1].op in PER_CHANNEL_ALU_OPS):
        raise CompileError(
            f"{item.nest.name} would overwrite an operand before it is read",
            where=item.nest.buffers[passes[1].source].name,
            hint="write to another buffer",
        )
    return passes


def _check_parameters(item: Item, plan: SramPlan) -> None:
    """requantise and rescale read the scale word from the tile after the bias."""
    _, _, bias, scale = item.nest.buffers
    gap = plan.base[scale] + item.bases[3] - plan.base[bias] - item.bases[2]
    if not (item.pattern.steps[3] + gap == item.pattern.steps[2] + 1).all():
        raise CompileError(
            f"{item.nest.name} reads each scale tile right after its bias tile",
            where=scale.name,
            expected="one parameter buffer […, 2, batch, block_out]",
        )

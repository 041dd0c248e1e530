"""Several layers in one program: shared emissions, micro-ops that overflow, spans, tokens through DRAM, and minimality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from vdla_harness import TINY, run

from vdla.compiler.backends.vdla.emit import Emission, emit
from vdla.compiler.backends.vdla.link import LinkedKernel, link
from vdla.compiler.ir.interpreter import interpret
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ops.configuration import Config
from vdla.compiler.ops.vdla.kernels import template_of
from vdla.compiler.ops.vdla.workload import ConvWorkload
from vdla.compiler.passes import lower
from vdla.design import Design
from vdla.errors import CompileError
from vdla.isa.checker import check_program
from vdla.isa.definition import Opcode, Scratchpad
from vdla.isa.layout import layout_of
from vdla.isa.program import Program, Slot
from vdla.isa.semantics import pack_scale
from vdla.isa.tokens import FIFOS, pops_of, pushes_of, queues_of

SMALL_UOPS = TINY.varied(sram={"uop": 128})
CONV = ConvWorkload(1, 1, 2, 2, 6, 6, (3, 3), (1, 1), (1, 1, 1, 1))
CONFIG = Config.parse(
    "images=1 groups=1 out_blocks=1 in_blocks=1 kernel_rows=3 kernel_columns=3 rows=3 columns=4 "
    "weights_outer=true inp_buffers=2 wgt_buffers=2 acc_buffers=2"
)


def conv_layer(config: Config = CONFIG, design: Design = TINY) -> Function:
    return lower(template_of(CONV).build(CONV, config, design))


class Chain:
    """x → layer 0 → layer 1 → … with the activations of layer k in one of `places` places, used in turn."""

    def __init__(self, funcs: Sequence[Function], emissions: Sequence[Emission], places: int, design: Design = TINY) -> None:
        self.funcs, rng = funcs, np.random.default_rng(7)
        x, weight, parameters, _ = funcs[0].params
        size = -(-int(np.prod(x.shape)) // 64) * 64
        address = size * places
        self.inputs = [Slot("x", 0, x.shape, "int8")]
        self.arrays = {"x": rng.integers(-128, 128, x.shape, dtype=np.int8)}
        kernels = []
        for k, emission in enumerate(emissions):
            bindings = {"x": size * (k % places), "y": size * ((k + 1) % places)}
            for param in (weight, parameters):
                slot = Slot(f"{param.name}{k}", address, param.shape, param.dtype)
                bindings[param.name] = address
                address += -(-slot.bytes // 64) * 64
                self.inputs.append(slot)
            self.arrays[f"weight{k}"] = rng.integers(-128, 128, weight.shape, dtype=np.int8)
            words = rng.integers(-100, 100, parameters.shape, dtype=np.int32)
            words[..., 1, :, :] = pack_scale(
                rng.integers(1 << 18, 1 << 19, words[..., 1, :, :].shape), np.array(26), np.array(0)
            )
            self.arrays[f"parameters{k}"] = words
            kernels.append(LinkedKernel(emission, bindings, f"layer{k}", "conv2d", macs=10 + k))
        output = Slot("y", size * (len(emissions) % places), x.shape, "int8")
        self.program = link(kernels, design, dram_bytes=address, inputs=self.inputs, outputs=[output])

    def expected(self) -> np.ndarray:
        value = self.arrays["x"]
        for k, func in enumerate(self.funcs):
            arrays = {"x": value, "weight": self.arrays[f"weight{k}"], "parameters": self.arrays[f"parameters{k}"]}
            value = interpret(func, arrays)[0]
        assert len(np.unique(value)) > 10  # the chain did not saturate
        return value

    def check(self) -> None:
        report = check_program(self.program)
        assert report.ok, [str(p) for p in report.problems[:3]]
        expected = self.expected()
        np.testing.assert_array_equal(run(self.program, self.arrays)[0], expected)
        for seed in range(4):
            got = run(self.program, self.arrays, np.random.default_rng(seed))[0]
            np.testing.assert_array_equal(got, expected, err_msg=f"order {seed}")


@pytest.fixture(scope="module")
def chain() -> Chain:
    """Three equal layers; the third writes over what the first reads."""
    func = conv_layer()
    emission = emit(func, TINY)
    return Chain([func] * 3, [emission] * 3, places=2)


def test_layers_follow_each_other_through_dram(chain: Chain) -> None:
    chain.check()


def test_equal_layers_share_their_micro_ops(chain: Chain) -> None:
    columns = chain.program.columns()
    loads = (columns["opcode"] == Opcode.LOAD) & (columns["buffer"] == Scratchpad.UOP) & (columns["y_size"] > 0)
    assert loads.sum() == 1
    assert loads[0]


def test_spans_have_no_gaps(chain: Chain) -> None:
    spans = chain.program.layers
    assert [s.name for s in spans] == ["layer0", "layer1", "layer2"]
    assert [s.begin for s in spans] == [0, *(s.end for s in spans[:-1])]
    assert spans[-1].end == len(chain.program.words)
    per_layer = chain.program.layers[0].gemm_uops
    assert per_layer == CONV.gemm_uops
    assert check_program(chain.program).gemm_uops == 3 * per_layer
    assert [s.macs for s in spans] == [10, 11, 12]


def with_columns(program: Program, columns: np.ndarray) -> Program:
    return replace(program, words=layout_of(program.design).encode(columns))


def test_every_token_bit_is_needed(chain: Chain) -> None:
    columns = chain.program.columns()
    for name in ("pop_prev", "pop_next", "push_prev", "push_next"):
        for i in np.flatnonzero(columns[name]):
            mutant = columns.copy()
            mutant[name][i] = 0
            assert not check_program(with_columns(chain.program, mutant)).ok, (
                f"clearing {name} of instruction {i} went unnoticed"
            )


def test_every_edge_is_needed(chain: Chain) -> None:
    """Drop a push together with the pop that takes its token: the program is balanced, but two instructions race."""
    columns = chain.program.columns()
    queue = queues_of(columns)
    edges = 0
    for fifo in FIFOS:
        pushes, pops = pushes_of(columns, queue, fifo), pops_of(columns, queue, fifo)
        assert len(pushes) == len(pops)
        for push, pop in zip(pushes, pops, strict=True):
            mutant = columns.copy()
            mutant[fifo.push][push] = mutant[fifo.pop][pop] = 0
            edges += 1
            assert not check_program(with_columns(chain.program, mutant)).ok, f"{fifo.name}: edge {push} → {pop} is redundant"
    assert edges > 50


def test_weights_of_the_next_layer_need_not_wait_for_this_one(chain: Chain) -> None:
    """The first weight load of a layer waits for nothing that the last store of the layer before does."""
    program, columns = chain.program, chain.program.columns()
    order = check_program(program).order
    assert order is not None
    for before, after in zip(program.layers, program.layers[1:], strict=False):
        span = np.arange(after.begin, after.end)
        weights = span[(columns["opcode"][span] == Opcode.LOAD) & (columns["buffer"][span] == Scratchpad.WGT)]
        stores = np.flatnonzero(columns["opcode"][: before.end] == Opcode.STORE)
        assert not order.before(int(stores[-1]), int(weights[0]))


@pytest.mark.parametrize("places", [2, 3, 5])
def test_different_layers(places: int) -> None:
    serial = CONFIG.replace(
        out_blocks=2, in_blocks=2, rows=2, columns=6, weights_outer=False, inp_buffers=1, wgt_buffers=1, acc_buffers=1
    )
    configs = [CONFIG, serial, CONFIG.replace(in_blocks=2, rows=6, columns=2, wgt_buffers=1), CONFIG]
    funcs = [conv_layer(config) for config in configs]
    Chain(funcs, [emit(f, TINY) for f in funcs], places).check()


def test_micro_ops_that_do_not_fit_are_loaded_again() -> None:
    """32 micro-ops of memory: layers evict each other, and one layer alone needs more than all of it."""
    configs = [CONFIG, CONFIG.replace(out_blocks=2, rows=2, columns=2), CONFIG]
    funcs = [conv_layer(config, SMALL_UOPS) for config in configs]
    emissions = [emit(f, SMALL_UOPS) for f in funcs]
    assert max(e.summary().uops for e in emissions) > SMALL_UOPS.uop_depth
    Chain(funcs, emissions, 2, SMALL_UOPS).check()


def test_what_cannot_be_linked_is_refused() -> None:
    func = conv_layer()
    emission = emit(func, TINY)
    places = {p.name: 1024 * k for k, p in enumerate(func.params)}
    with pytest.raises(CompileError, match=r"layer: weight: a parameter has no address"):
        link([LinkedKernel(emission, {k: v for k, v in places.items() if k != "weight"}, "layer")], TINY, dram_bytes=8192)
    with pytest.raises(CompileError, match=r"layer: weight: a tensor's address is not a multiple of its tile; found 1028"):
        link([LinkedKernel(emission, {**places, "weight": 1028}, "layer")], TINY, dram_bytes=8192)
    with pytest.raises(CompileError, match="emitted for another design"):
        link([LinkedKernel(emission, places, "layer")], SMALL_UOPS, dram_bytes=8192)


def test_an_empty_program_finishes() -> None:
    program = link([], TINY, dram_bytes=0)
    assert program.columns()["opcode"].tolist() == [Opcode.FINISH]
    assert check_program(program).ok

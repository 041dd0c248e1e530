"""Kernels as things: their checks, memory accesses, threads, caches and objects for other machines."""

from __future__ import annotations

import ctypes
import mmap
import threading

import numpy as np
import pytest

from vdla.compiler import ir
from vdla.compiler.backends.llvm import Target, compile_function, emit_object, jit, thread_pool
from vdla.errors import CompileError, RunError


def scale(n: int = 40, kind: str = "vectorized", dtype: str = "float32", factor: int = 2) -> ir.Function:
    """y = factor · x."""
    x, y, i = ir.Buffer("x", (n,), dtype), ir.Buffer("y", (n,), dtype), ir.Var("i")
    return ir.Function("scale", (x, y), ir.For(i, n, ir.Store(y, (i,), x[i] * factor), kind))


def test_a_kernel_computes_in_place_or_returns():
    kernel, x = compile_function(scale()), np.arange(40, dtype="float32")
    y = np.empty_like(x)
    kernel(x, y)
    np.testing.assert_array_equal(y, 2 * x)
    np.testing.assert_array_equal(kernel.run(x)[0], 2 * x)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ([np.zeros(40, "float32")], "wrong number of arrays"),
        ([np.zeros(41, "float32"), np.zeros(40, "float32")], r"scale, x: .*float32\[41\].*expected float32\[40\]"),
        ([np.zeros(40), np.zeros(40, "float32")], r"found 'float64\[40\]'"),
        ([np.zeros(80, "float32")[::2], np.zeros(40, "float32")], "not contiguous"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, words):
    with pytest.raises(RunError, match=words):
        compile_function(scale())(*arrays)


def test_what_lowering_removes_is_refused_by_name():
    x, i = ir.Buffer("x", (4,), "float32"), ir.Var("i")
    with pytest.raises(CompileError, match="lower the function first"):
        compile_function(ir.Function("f", (x,), ir.Block("b", (), (), ir.Store(x, (ir.Const(0),), ir.Const(0, "float32")))))
    with pytest.raises(CompileError, match="Intrinsic.*vdla.store"):
        compile_function(ir.Function("f", (x,), ir.Intrinsic("vdla.store", (ir.Region(x, (ir.Const(0),), (1,)),))))
    with pytest.raises(CompileError, match="vthread"):
        compile_function(ir.Function("f", (x,), ir.For(i, 4, ir.Store(x, (i,), ir.Const(0, "float32")), "vthread")))
    y = ir.Buffer("y", (4,), "int32")
    with pytest.raises(CompileError, match="exp on int32"):
        compile_function(ir.Function("f", (y,), ir.For(i, 4, ir.Store(y, (i,), ir.Call("exp", (y[i],), "int32")))))


def fenced(count: int, dtype: str, after: bool) -> np.ndarray:
    """An array whose end (after) or beginning touches a page that must not be read."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 3 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(base + (2 * page if after else 0)), page, 0) == 0
    size = count * np.dtype(dtype).itemsize
    start = 2 * page - size if after else page
    return np.frombuffer(memory, dtype, count, start)


@pytest.mark.parametrize("kind", ["serial", "vectorized", "unrolled"])
@pytest.mark.parametrize("stride", [1, 2, 7])
@pytest.mark.parametrize("after", [True, False])
def test_padding_reads_nothing_outside_the_buffer(kind, stride, after):
    """A stray read would end the process: the pages on either side are fenced."""
    n = 36
    x, i = ir.Buffer("x", (n,), "float32"), ir.Var("i")
    index = i * stride - 3 * stride
    inside = ir.all_of([index >= 0, index < n])
    y = ir.Buffer("y", (n // stride + 9,), "float32")
    func = ir.Function(
        "pad", (x, y), ir.For(i, y.shape[0], ir.Store(y, (i,), ir.Select(inside, x[index], ir.Const(-1.0, "float32"))), kind)
    )
    data = fenced(n, "float32", after)
    data[:] = np.arange(n)
    (found,) = compile_function(func).run(data)
    positions = np.arange(y.shape[0]) * stride - 3 * stride
    expected = np.where((positions >= 0) & (positions < n), data[np.clip(positions, 0, n - 1)], -1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["serial", "vectorized"])
def test_guarded_stores_write_nothing_outside_the_buffer(kind):
    x, y, i = ir.Buffer("x", (40,), "int32"), ir.Buffer("y", (37,), "int32"), ir.Var("i")
    func = ir.Function("guard", (x, y), ir.For(i, 40, ir.If(i < 37, ir.Store(y, (i,), x[i])), kind))
    out = fenced(37, "int32", True)
    compile_function(func)(np.arange(40, dtype="int32"), out)
    np.testing.assert_array_equal(out, np.arange(37))


def test_large_temporaries_live_on_the_heap():
    n = 100_000
    x, t, y = (ir.Buffer(name, (n,), "float32") for name in "xty")
    i, j = ir.Var("i"), ir.Var("j")
    body = ir.Allocate(
        t,
        ir.seq(ir.For(i, n, ir.Store(t, (i,), x[i] + 1.0)), ir.For(j, n, ir.Store(y, (j,), t[n - 1 - j] * 2.0), "vectorized")),
    )
    data = np.random.default_rng(0).standard_normal(n).astype("float32")
    np.testing.assert_allclose(compile_function(ir.Function("big", (x, y), body)).run(data)[0], 2 * (data[::-1] + 1), rtol=1e-6)


def table(n: int) -> ir.Function:
    """A parallel loop inside a serial one, using its variable: y[r, i] = x[i] · r."""
    x, y, r, i, k = ir.Buffer("x", (n,), "int64"), ir.Buffer("y", (3, n), "int64"), ir.Var("r"), ir.Var("i"), ir.Var("k")
    inner = ir.For(k, 4, ir.Store(y, (r, i * 4 + k), x[i * 4 + k] * r.astype("int64")), "vectorized")
    return ir.Function("table", (x, y), ir.For(r, 3, ir.For(i, n // 4, inner, "parallel")))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_parallel_loops_cover_every_iteration_on_any_number_of_threads(threads, monkeypatch):
    monkeypatch.setattr(thread_pool.POOL, "threads", threads)
    n = 160_000
    kernel = compile_function(table(n))
    assert "vdla_parallel_for" in kernel.assembly
    x = np.arange(n) * 7
    np.testing.assert_array_equal(kernel.run(x)[0], np.arange(3)[:, None] * x)


def test_kernels_run_from_several_threads_at_once():
    kernel, x, failures = compile_function(table(160_000)), np.arange(160_000), []
    expected = np.arange(3)[:, None] * x

    def work() -> None:
        for _ in range(10):
            if not np.array_equal(kernel.run(x)[0], expected):
                failures.append(threading.get_ident())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not failures


def test_objects_are_kept_on_disk_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("VDLA_CACHE", str(tmp_path))
    monkeypatch.setattr(jit, "object_code", counted := Counted(jit.object_code))
    for _ in range(2):
        jit.load_function.cache_clear()
        np.testing.assert_array_equal(compile_function(scale(factor=3)).run(np.ones(40, "float32"))[0], 3)
    assert counted.calls == 1
    assert [p.suffix for p in tmp_path.rglob("*") if p.is_file()] == [".obj"]


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: b"", lambda data: data[:200] + b"?" + data[201:]])
def test_a_damaged_object_is_made_again(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("VDLA_CACHE", str(tmp_path))
    monkeypatch.setattr(jit, "object_code", counted := Counted(jit.object_code))
    for calls in (1, 2):
        jit.load_function.cache_clear()
        np.testing.assert_array_equal(compile_function(scale(factor=7)).run(np.ones(40, "float32"))[0], 7)
        assert counted.calls == calls
        (entry,) = (p for p in tmp_path.rglob("*") if p.is_file())
        entry.write_bytes(damage(entry.read_bytes()))


def test_a_cache_that_cannot_be_written_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VDLA_CACHE", str(tmp_path / "file"))
    jit.load_function.cache_clear()
    np.testing.assert_array_equal(compile_function(scale(factor=5)).run(np.ones(40, "float32"))[0], 5)


class Counted:
    def __init__(self, function) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *args):
        self.calls += 1
        return self.function(*args)


@pytest.mark.parametrize(
    ("triple", "cpu", "machine", "bits"),
    [
        ("armv7-linux-gnueabihf", "cortex-a9", 40, 1),
        ("aarch64-linux-gnu", "cortex-a53", 183, 2),
        ("riscv64-linux-gnu", "", 243, 2),
    ],
)
def test_objects_for_boards_are_elf_files_of_their_machine(triple, cpu, machine, bits):
    code = emit_object(table(160_000), Target(triple, cpu))
    assert code[:4] == b"\x7fELF"
    assert code[4] == bits
    assert int.from_bytes(code[18:20], "little") == machine
    assert b"vdla_table" in code
    assert b"vdla_parallel_for" in code

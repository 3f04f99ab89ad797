"""Four instructions that Numba does not have.

They are emitted as LLVM vector code, so that the compiler keeps the right values in registers on
every kind of CPU. Everything else in this book is ordinary Numba.

    tile(rows, ...)      C[rows, PANEL] (+)= A[rows, K] B[K, PANEL]: all of C stays in registers while k runs
    sandwich(M)          Y = M X M' for a small constant matrix M, where every entry of X is a vector
    sandwich_relu(M)     Y = M X M' + bias, and the ReLU of that
    move                 PANEL floats from one place to another, without a loop

Source of the tile: Goto & van de Geijn 2008 (Anatomy of high-performance matrix multiplication).
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_FEATURES = llvm.get_host_cpu_features()

# A tile of ROWS x 2 vectors, its two vectors of B and one of A must fit into the vector registers.
if _FEATURES.get("avx512f"):
    LANES, ROWS = 16, 12  # 32 registers of 16 floats
elif _FEATURES.get("avx2"):
    LANES, ROWS = 8, 6  # 16 registers of 8 floats
else:
    LANES, ROWS = 4, 12  # NEON: 32 registers of 4 floats
PANEL = 2 * LANES

_F32 = ir.FloatType()
_VECTOR = ir.VectorType(_F32, LANES)
_I32, _I64 = ir.IntType(32), ir.IntType(64)


def tile(rows: int, transposed: bool = False) -> Any:
    """The instruction C = A B, or C += A B where ``add``, for a tile of ``rows`` x PANEL, inside Numba functions.

        f(a, a0, lda, b, b0, ldb, c, c0, ldc, K, add)

    a, b, c are flat float32 arrays; A begins at a[a0], its row i at a[a0 + i*lda]. Where ``transposed``,
    the memory of A holds A': column k at a[a0 + k*lda].
    """

    @intrinsic
    def instruction(
        typing: Any, a: Any, a0: Any, lda: Any, b: Any, b0: Any, ldb: Any, c: Any, c0: Any, ldc: Any, K: Any, add: Any
    ) -> Any:
        i = types.intp
        return types.void(a, i, i, b, i, i, c, i, i, i, types.boolean), emit

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        # In a function of its own the tile has all registers to itself; inlined into loops it spills.
        builder.function.attributes.add("noinline")
        A, B, C = (_pointer(context, builder, signature, args, n) for n in (0, 3, 6))
        lda, ldb, ldc, K = args[2], args[5], args[8], args[9]
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        c_rows = [builder.gep(C, [builder.mul(ldc, _I64(i))]) for i in range(rows)]
        for row in c_rows:  # asked for now, C has arrived when k has run
            for v in range(2):
                _prefetch(builder, row, v * LANES)
        # A row pointer for every three rows: x86 reaches p, p + lda and p + 2 lda from each.
        bases = [A] if transposed else [builder.gep(A, [builder.mul(lda, _I64(i))]) for i in range(0, rows, 3)]

        before, body, after = builder.block, builder.append_basic_block("k"), builder.append_basic_block("end")
        builder.branch(body)
        builder.position_at_end(body)
        k = builder.phi(_I64)
        k.add_incoming(_I64(0), before)
        pointers = [_phi(builder, base, before) for base in bases]
        b_row = _phi(builder, B, before)
        sums = [[_phi(builder, zero, before) for _ in range(2)] for _ in range(rows)]

        b_vectors = [_load(builder, b_row, v * LANES) for v in range(2)]
        for v in range(2):
            _prefetch(builder, b_row, PANEL + v * LANES, write=False)
        lda2 = builder.mul(lda, _I64(2))
        for i in range(rows):
            if transposed:
                element = builder.gep(pointers[0], [_I64(i)])
            else:
                base = pointers[i // 3]
                element = (base, builder.gep(base, [lda]), builder.gep(base, [lda2]))[i % 3]
            a_vector = _splat(builder, builder.load(element))
            for v in range(2):
                sums[i][v].add_incoming(_fma(builder, a_vector, b_vectors[v], sums[i][v]), body)
        for pointer in pointers:
            pointer.add_incoming(builder.gep(pointer, [lda if transposed else _I64(1)]), body)
        b_row.add_incoming(builder.gep(b_row, [ldb]), body)
        following = builder.add(k, _I64(1))
        k.add_incoming(following, body)
        builder.cbranch(builder.icmp_signed("<", following, K), body, after)

        builder.position_at_end(after)
        add = builder.trunc(args[10], ir.IntType(1))
        for row, vectors in zip(c_rows, sums, strict=True):
            for v in range(2):
                total = vectors[v].incomings[1][0]
                before = builder.select(add, _load(builder, row, v * LANES), zero)
                _store(builder, builder.fadd(total, before), row, v * LANES)
        return context.get_dummy_value()

    return instruction


def sandwich(matrix: list[list[Fraction]], accumulate: bool = False) -> Any:
    """The instruction Y = M X M' for a constant P x Q matrix M: X is Q x Q, Y is P x P, entries are vectors.

        f(x, x0, x_row, x_column, y, y0, y_row, y_column)

    x and y are flat float32 arrays; X[i, j] is the LANES floats from x[x0 + i*x_row + j*x_column] on.
    ``accumulate`` adds to Y. The constants are folded into the code; zeros cost nothing.
    """

    @intrinsic
    def instruction(typing: Any, x: Any, x0: Any, xr: Any, xc: Any, y: Any, y0: Any, yr: Any, yc: Any) -> Any:
        i = types.intp
        return types.void(x, i, i, i, y, i, i, i), emit

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        for entry, value in _sandwiched(context, builder, signature, args, matrix):
            _store(builder, builder.fadd(value, _load(builder, entry)) if accumulate else value, entry)
        return context.get_dummy_value()

    return instruction


def sandwich_relu(matrix: list[list[Fraction]]) -> Any:
    """The instruction Y = M X M' + bias, and relu of that where ``relu``: the end of a layer, while Y is in registers.

        f(x, x0, x_row, x_column, y, y0, y_row, y_column, bias, b0, relu)

    The bias is LANES floats, the same for all entries of Y; see sandwich for the rest. NaN stays NaN.
    """

    @intrinsic
    def instruction(
        typing: Any, x: Any, x0: Any, xr: Any, xc: Any, y: Any, y0: Any, yr: Any, yc: Any, b: Any, b0: Any, relu: Any
    ) -> Any:
        i = types.intp
        return types.void(x, i, i, i, y, i, i, i, b, i, types.boolean), emit

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        bias = _load(builder, _pointer(context, builder, signature, args, 8))
        relu = builder.trunc(args[10], ir.IntType(1))
        least = _splat(builder, builder.select(relu, ir.Constant(_F32, 0.0), ir.Constant(_F32, float("-inf"))))
        for entry, value in _sandwiched(context, builder, signature, args, matrix):
            total = builder.fadd(value, bias)
            below = builder.fcmp_ordered("<=", total, least)
            _store(builder, builder.select(below, least, total), entry)
        return context.get_dummy_value()

    return instruction


@intrinsic
def move(typing: Any, source: Any, s0: Any, target: Any, t0: Any) -> Any:
    """target[t0 : t0 + PANEL] = source[s0 : s0 + PANEL], for flat float32 arrays."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        start, end = _pointer(context, builder, signature, args, 0), _pointer(context, builder, signature, args, 2)
        vectors = [_load(builder, start, v * LANES) for v in range(2)]
        for v in range(2):
            _store(builder, vectors[v], end, v * LANES)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), emit


def _sandwiched(
    context: Any, builder: ir.IRBuilder, signature: Any, args: Any, matrix: list[list[Fraction]]
) -> Iterator[tuple[Any, Any]]:
    """Pointer and value of each entry of M X M'."""
    Q = len(matrix[0])
    X, Y = _pointer(context, builder, signature, args, 0), _pointer(context, builder, signature, args, 4)
    columns = []  # columns[j][p] = (M X)[p, j]
    for j in range(Q):
        column = builder.gep(X, [builder.mul(args[3], _I64(j))])
        entries = [_load(builder, builder.gep(column, [builder.mul(args[2], _I64(i))])) for i in range(Q)]
        columns.append(_apply(builder, matrix, entries))
    for p in range(len(matrix)):
        row = builder.gep(Y, [builder.mul(args[6], _I64(p))])
        for q, value in enumerate(_apply(builder, matrix, [column[p] for column in columns])):
            yield builder.gep(row, [builder.mul(args[7], _I64(q))]), value


def _apply(builder: ir.IRBuilder, matrix: list[list[Fraction]], entries: list[Any]) -> list[Any]:
    """The matrix times a vector of vectors.

    The rows of interpolation points +p and -p agree but for signs: what they share is computed once.
    """
    results: dict[int, Any] = {}
    for p, row in enumerate(matrix):
        if p in results:
            continue
        twin = next((q for q in range(p + 1, len(matrix)) if q not in results and _mirrored(row, matrix[q])), None)
        if twin is None:
            results[p] = _dot(builder, row, entries)
        else:
            same = [a if a == b else Fraction(0) for a, b in zip(row, matrix[twin], strict=True)]
            even, odd = (
                _dot(builder, same, entries),
                _dot(builder, [a - s for a, s in zip(row, same, strict=True)], entries),
            )
            results[p], results[twin] = builder.fadd(even, odd), builder.fsub(even, odd)
    return [results[p] for p in range(len(matrix))]


def _mirrored(row: list[Fraction], other: list[Fraction]) -> bool:
    """Whether the rows agree in some entries and are opposite in the others, at least two of each."""
    agree = sum(a == b != 0 for a, b in zip(row, other, strict=True))
    oppose = sum(a == -b != 0 for a, b in zip(row, other, strict=True))
    return (
        agree >= 1 and oppose >= 1 and agree + oppose == sum(a != 0 or b != 0 for a, b in zip(row, other, strict=True))
    )


def _dot(builder: ir.IRBuilder, row: list[Fraction], entries: list[Any]) -> Any:
    total = None
    for factor, entry in zip(row, entries, strict=True):
        if factor == 0:
            continue
        if total is None:
            total = entry if factor == 1 else builder.fmul(entry, _constant(factor))
        elif factor == 1:
            total = builder.fadd(total, entry)
        elif factor == -1:
            total = builder.fsub(total, entry)
        else:
            total = _fma(builder, entry, _constant(factor), total)
    return _constant(Fraction(0)) if total is None else total


def _constant(value: Fraction) -> ir.Constant:
    return ir.Constant(_VECTOR, [float(np.float32(float(value)))] * LANES)


def _pointer(context: Any, builder: ir.IRBuilder, signature: Any, args: Any, n: int) -> Any:
    """The address of array argument n, at the offset that follows it among the arguments."""
    array = cgutils.create_struct_proxy(signature.args[n])(context, builder, args[n])
    return builder.gep(array.data, [args[n + 1]])


def _phi(builder: ir.IRBuilder, value: Any, block: Any) -> Any:
    phi = builder.phi(value.type)
    phi.add_incoming(value, block)
    return phi


def _load(builder: ir.IRBuilder, pointer: Any, offset: int = 0) -> Any:
    vector = builder.load(builder.bitcast(builder.gep(pointer, [_I64(offset)]), _VECTOR.as_pointer()))
    vector.align = 4
    return vector


def _store(builder: ir.IRBuilder, vector: Any, pointer: Any, offset: int = 0) -> None:
    builder.store(vector, builder.bitcast(builder.gep(pointer, [_I64(offset)]), _VECTOR.as_pointer())).align = 4


def _prefetch(builder: ir.IRBuilder, pointer: Any, offset: int, write: bool = True) -> None:
    """Ask for the cache line of a place that will be written, or read."""
    address = builder.gep(pointer, [_I64(offset)])
    function = ir.FunctionType(ir.VoidType(), [address.type, _I32, _I32, _I32])
    prefetch = cgutils.get_or_insert_function(builder.module, function, "llvm.prefetch.p0")
    builder.call(prefetch, [address, _I32(int(write)), _I32(3), _I32(1)])


def _splat(builder: ir.IRBuilder, scalar: Any) -> Any:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    single = builder.insert_element(undefined, scalar, _I32(0))
    return builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))


def _fma(builder: ir.IRBuilder, a: Any, b: Any, c: Any) -> Any:
    function = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, function, f"llvm.fma.v{LANES}f32"), [a, b, c])

"""Vector instructions for kernels that the compiler would not vectorise on its own.

`Code` writes LLVM instructions on vectors; `expanded` turns them into a function that kernels can call.
Memory is given as addresses and distances in bytes, and nothing checks that callers stay within bounds.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from ._jit import cgutils, intrinsic, target_features, types

#: Features of the CPU that code is generated for.
FEATURES = target_features()

#: float32 numbers in one vector of the CPU that code is generated for.
LANES = 16 if "avx512f" in FEATURES else 8 if "avx2" in FEATURES else 4

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_LANE = ir.IntType(32)
_INTEGERS = ir.VectorType(_LANE, LANES)
_INDEX = ir.IntType(64)
#: Size of a vector in memory.
VECTOR_BYTES = 4 * LANES


def number(value: int) -> ir.Constant:
    """An integer constant for instructions."""
    return ir.Constant(_INDEX, value)


class Code:
    """Instructions on vectors, appended to what Numba has generated so far."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder
        self._undefined = ir.Constant(_VECTOR, ir.Undefined)

    # Integers

    def at(self, address: ir.Value, *offsets: ir.Value | int) -> ir.Value:
        """``address`` moved by ``offsets`` bytes."""
        for offset in offsets:
            address = self.builder.add(address, number(offset) if isinstance(offset, int) else offset)
        return address

    def scaled(self, value: ir.Value, factor: int) -> ir.Value:
        """``value·factor``."""
        return self.builder.mul(value, number(factor))

    def smaller(self, left: ir.Value, right: ir.Value) -> ir.Value:
        """The smaller of two integers, which may be negative."""
        return self.builder.select(self.builder.icmp_signed("<", left, right), left, right)

    def larger(self, left: ir.Value, right: ir.Value) -> ir.Value:
        """The larger of two integers, which may be negative."""
        return self.builder.select(self.builder.icmp_signed(">", left, right), left, right)

    @contextmanager
    def loop(self, count: ir.Value) -> Iterator[ir.Value]:
        """Repeat the block for 0 ≤ index < ``count``."""
        with cgutils.for_range(self.builder, count) as loop:
            yield loop.index

    @contextmanager
    def where(self, position: int, limit: ir.Value) -> Iterator[None]:
        """Run the block if ``position < limit``."""
        with self.builder.if_then(self.builder.icmp_signed("<", number(position), limit)):
            yield

    def counter(self, start: ir.Value) -> ir.Value:
        """A variable for an integer; LLVM keeps it in a register."""
        place = cgutils.alloca_once(self.builder, _INDEX)
        self.builder.store(start, place)
        return place

    # Vectors

    def variable(self, start: ir.Value | None = None) -> ir.Value:
        """A variable for a vector; LLVM keeps it in a register."""
        place = cgutils.alloca_once(self.builder, _VECTOR)
        if start is not None:
            self.builder.store(start, place)
        return place

    def splat(self, value: float) -> ir.Constant:
        """A vector of equal constants."""
        return ir.Constant(_VECTOR, [value] * LANES)

    def bits(self, vector: ir.Value) -> ir.Value:
        """The bits of each number, as a vector of integers."""
        return self.builder.bitcast(vector, _INTEGERS)

    def floats(self, bits: ir.Value) -> ir.Value:
        """The inverse of `bits`."""
        return self.builder.bitcast(bits, _VECTOR)

    def splat_bits(self, value: int) -> ir.Constant:
        """A vector of equal integers, of the type that `bits` returns."""
        return ir.Constant(_INTEGERS, [value] * LANES)

    def _call(self, name: str, *vectors: ir.Value) -> ir.Value:
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(vectors))
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}.v{LANES}f32")
        return self.builder.call(function, vectors)

    def fma(self, left: ir.Value, right: ir.Value, total: ir.Value) -> ir.Value:
        """``left·right + total``, rounded once."""
        return self._call("fma", left, right, total)

    def times_plus(self, left: ir.Value, right: ir.Value, total: ir.Value) -> ir.Value:
        """``left·right + total``, rounded once if the CPU has an instruction for it, otherwise twice."""
        return self._call("fmuladd", left, right, total)

    def plus(self, left: ir.Value, right: ir.Value) -> ir.Value:
        """``left + right``."""
        return self.builder.fadd(left, right)

    def minus(self, left: ir.Value, right: ir.Value) -> ir.Value:
        """``left − right``."""
        return self.builder.fsub(left, right)

    def times(self, left: ir.Value, right: ir.Value) -> ir.Value:
        """``left·right``."""
        return self.builder.fmul(left, right)

    def magnitude(self, vector: ir.Value) -> ir.Value:
        """``|vector|``."""
        return self._call("fabs", vector)

    def largest(self, left: ir.Value, right: ir.Value) -> ir.Value:
        """The larger number of each lane."""
        return self.builder.select(self.builder.fcmp_ordered(">", left, right), left, right)

    def ratio(self, left: ir.Value, right: ir.Value) -> ir.Value:
        """``left / right``, with 0 where ``right`` is 0."""
        return self.where_zero(right, self.splat(0), self.builder.fdiv(left, right))

    def where_zero(self, vector: ir.Value, then: ir.Value, otherwise: ir.Value) -> ir.Value:
        """``then`` in the lanes where ``vector`` is 0, ``otherwise`` elsewhere."""
        return self.builder.select(self.builder.fcmp_ordered("==", vector, self.splat(0)), then, otherwise)

    def where_positive(self, vector: ir.Value, then: ir.Value, otherwise: ir.Value) -> ir.Value:
        """``then`` in the lanes where ``vector`` is above 0, ``otherwise`` elsewhere."""
        return self.builder.select(self.builder.fcmp_ordered(">", vector, self.splat(0)), then, otherwise)

    def of_sign(self, sign: int, vector: ir.Value, limit: ir.Value) -> ir.Value:
        """``vector``, with 0 wherever ``sign·vector`` does not exceed ``limit``."""
        size = vector if sign > 0 else self.minus(self.splat(0), vector)
        return self.builder.select(self.builder.fcmp_ordered(">", size, limit), vector, self.splat(0))

    def total(self, vector: ir.Value) -> ir.Value:
        """Sum over the lanes: the two halves are added first."""
        width = LANES // 2
        while width:
            order = [(lane + width) % LANES for lane in range(LANES)]
            lanes = ir.Constant(_INTEGERS, order)
            vector = self.plus(vector, self.builder.shuffle_vector(vector, self._undefined, lanes))
            width //= 2
        return self.builder.extract_element(vector, ir.Constant(_LANE, 0))

    # Memory

    def _vector_at(self, address: ir.Value) -> ir.Value:
        return self.builder.inttoptr(address, _VECTOR.as_pointer())

    def _float_at(self, address: ir.Value) -> ir.Value:
        return self.builder.inttoptr(address, _FLOAT.as_pointer())

    def load(self, address: ir.Value) -> ir.Value:
        """The vector at ``address``, aligned to 4 bytes or more."""
        return self.builder.load(self._vector_at(address), align=4)

    def store(self, vector: ir.Value, address: ir.Value) -> None:
        """Store a vector at ``address``, aligned to 4 bytes or more."""
        self.builder.store(vector, self._vector_at(address), align=4)

    def fetch(self, address: ir.Value) -> None:
        """Prefetch the memory around ``address`` for reading; has no other effect."""
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, _LANE, _LANE, _LANE])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0i8")
        # For reading, data, not into the L1 cache: that is full of what is in use.
        hints = [ir.Constant(_LANE, hint) for hint in (0, 2, 1)]
        self.builder.call(function, [self.builder.inttoptr(address, pointer), *hints])

    def broadcast(self, address: ir.Value) -> ir.Value:
        """The number at ``address`` in every lane."""
        found = self.builder.load(self._float_at(address))
        first = self.builder.insert_element(self._undefined, found, ir.Constant(_LANE, 0))
        lanes = self.splat_bits(0)
        return self.builder.shuffle_vector(first, self._undefined, lanes)

    def load_part(self, address: ir.Value, count: ir.Value) -> ir.Value:
        """The ``count`` ≤ LANES numbers at ``address``, padded with zeros."""
        place = self.variable(self.splat(0))
        self._copy(self._float_at(address), self.builder.bitcast(place, _FLOAT.as_pointer()), count)
        return self.builder.load(place)

    def store_part(self, vector: ir.Value, address: ir.Value, count: ir.Value) -> None:
        """Store the first ``count`` ≤ LANES numbers of a vector."""
        place = self.variable(vector)
        few = self.builder.icmp_signed("<", count, number(LANES))
        limit = self.builder.select(few, count, number(LANES))
        self._copy(self.builder.bitcast(place, _FLOAT.as_pointer()), self._float_at(address), limit)

    def _copy(self, source: ir.Value, target: ir.Value, count: ir.Value) -> None:
        with self.loop(count) as index:
            found = self.builder.load(self.builder.gep(source, [index]))
            self.builder.store(found, self.builder.gep(target, [index]))


#: Functions that load from an address, and that store there.
Load = Callable[[ir.Value], ir.Value]
Store = Callable[[ir.Value, ir.Value], None]


def each_vector(code: Code, count: ir.Value, use: Callable[[ir.Value, Load, Store], None]) -> None:
    """Call ``use(offset, load, store)`` for every full vector of ``count`` numbers, and for the remainder."""
    builder = code.builder
    whole = builder.udiv(count, number(LANES))
    with code.loop(whole) as index:
        use(code.scaled(index, VECTOR_BYTES), code.load, code.store)
    rest = builder.urem(count, number(LANES))
    with code.where(0, rest):
        use(
            code.scaled(whole, VECTOR_BYTES),
            lambda address: code.load_part(address, rest),
            lambda vector, address: code.store_part(vector, address, rest),
        )


def expanded(count: int, emit: Callable[..., ir.Value | None]) -> Any:
    """A function of ``count`` integers; ``emit(code, *integers)`` writes its code where it is called.

    The function returns the float32 number that ``emit`` returns, or nothing.
    """

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Sequence[ir.Value]) -> Any:
        found = emit(Code(builder), *arguments)
        return context.get_dummy_value() if found is None else found

    result = types.float32 if emit.__annotations__.get("return") is ir.Value else types.void
    names = ", ".join(f"argument{position}" for position in range(count))
    scope: dict[str, Any] = {"answer": (result(*(types.int64,) * count), generate)}
    # Numba reads the number of arguments from the function's signature.
    exec(f"def expand(typing_context, {names}):\n    return answer", scope)
    return intrinsic(scope["expand"])

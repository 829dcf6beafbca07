"""The loops of `kernel` and `table_kernel`, compiled by numba and kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from obligor.arrays import Floats
from obligor.model.treeshap import kernel, table_kernel

if TYPE_CHECKING:
    from llvmlite.ir import IRBuilder, Value
    from numba.core.base import BaseContext
    from numba.core.typing import Signature
    from numba.core.typing.templates import Context

ENTRY_POINTS = ("explain_row", "explain_rows", "score_rows")


@dataclass(frozen=True)
class CompiledKernel:
    """The compiled entry points; see the functions of the same names."""

    explain_row: Callable[..., None]
    explain_rows: Callable[..., None]
    score_rows: Callable[..., None]
    fill_table: Callable[..., None]
    leaf_table: Callable[..., Floats]


@cache
def compiled_kernel() -> CompiledKernel:
    """Return the compiled loops; numba compiles each on its first call.

    All other functions are inlined, since a call with arrays costs 50 ns there.
    """
    import numba

    numba.config.SLP_VECTORIZE = 1  # several lanes at once: `kernel._product`
    for name, function in vars(kernel).items():
        is_own = getattr(function, "__module__", "") == kernel.__name__
        if is_own and name not in (*ENTRY_POINTS, "fetch_ahead"):
            # Only the walks make arrays; the others count no references.
            counts_references = name == "_add_walks"
            options = {} if counts_references else {"_nrt": False}
            _inline(function, options)
    _inline(table_kernel.leaf_table, {})
    _inline(table_kernel.collect_conditions, {})
    _overload_fetch_ahead()
    compile_ = numba.njit(cache=True, error_model="numpy")
    return CompiledKernel(
        explain_row=compile_(kernel.explain_row),
        explain_rows=compile_(kernel.explain_rows),
        score_rows=compile_(kernel.score_rows),
        fill_table=compile_(table_kernel.fill_table),
        leaf_table=compile_(table_kernel.leaf_table),
    )


def _inline(function: Callable[..., object], options: dict[str, bool]) -> None:
    from numba.extending import register_jitable

    register_jitable(forceinline=True, error_model="numpy", **options)(function)


def _overload_fetch_ahead() -> None:
    """Compile `fetch_ahead` to the processor's prefetch.

    One row, whose tables are not in the cache, is then explained 1.3 times as fast.
    """
    import numba
    from llvmlite import ir
    from numba.core import cgutils

    for_reading = 0
    keep_in_every_cache = 3
    is_data = 1

    @numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def prefetch(
        typing_context: Context,
        array: numba.types.Array,
        index: numba.types.Integer,
    ) -> tuple[Signature, Callable[..., Value]]:
        def generate(
            context: BaseContext,
            builder: IRBuilder,
            signature: Signature,
            arguments: tuple[Value, Value],
        ) -> Value:
            array_value, index_value = arguments
            structure = context.make_array(signature.args[0])
            data = structure(context, builder, array_value).data
            byte_pointer = ir.PointerType(ir.IntType(8))
            address = builder.bitcast(builder.gep(data, [index_value]), byte_pointer)
            number = ir.IntType(32)
            kind = ir.FunctionType(
                ir.VoidType(),
                [address.type, number, number, number],
            )
            function = cgutils.get_or_insert_function(
                builder.module,
                kind,
                "llvm.prefetch.p0i8",
            )
            options = (for_reading, keep_in_every_cache, is_data)
            builder.call(function, [address, *(number(option) for option in options)])
            return context.get_dummy_value()

        return numba.types.void(array, index), generate

    overload = numba.extending.overload(
        kernel.fetch_ahead,
        jit_options={"forceinline": True, "_nrt": False},
    )
    overload(lambda reals, at: lambda reals, at: prefetch(reals, at))

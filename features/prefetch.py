"""Prefetching, for kernels that wait for memory more than they compute."""

from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LINE_BYTES = 64
Part: TypeAlias = Any
"""What numba gives to a function that writes code: types, values, and the builder of the code."""


def _prefetch(_typing: Part, array: Part, _index: Part, _offset: Part) -> Part:
    """Return the signature of prefetch, and what writes its code: LLVM's intrinsic, for reading, to be kept near."""

    def write(context: Part, builder: Part, signature: Part, values: Part) -> Part:
        kind, byte, word = signature.args[0], ir.IntType(8).as_pointer(), ir.IntType(32)
        held = context.make_array(kind)(context, builder, values[0])
        element: Part = cgutils.get_item_pointer(context, builder, kind, held, [values[1]])  # type: ignore[no-untyped-call]
        at = builder.gep(builder.bitcast(element, byte), [values[2]])
        form = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        builder.call(builder.module.declare_intrinsic("llvm.prefetch", [byte], form), [at, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), write


prefetch: Part = intrinsic(_prefetch)
"""Ask for the cache line of a byte, and go on at once: prefetch(array, index, offset).

array is a C array of one dimension, index the number of an element, which must be there, offset that of the byte from
the element's first.
"""

"""The type of what Keras computes with."""

from typing import Any, TypeAlias

# A tensor of whichever backend Keras runs on: Keras has no type for it that a type checker could follow.
Tensor: TypeAlias = Any

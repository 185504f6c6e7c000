"""What Keras computes with: the type, and a number that stands for nothing."""

from typing import Any, TypeAlias

# A tensor of whichever backend Keras runs on: Keras has no type for it that a type checker could follow.
Tensor: TypeAlias = Any

# A term left out of a sum of exponentials: far below any log-probability that finite logits reach, yet finite, because
# -inf would turn gradients into NaN.
NO_TERM = -1e9

"""The type of what is known of a payload: values by the name of their column, nothing where the bytes do not say."""

from typing import TypeAlias

Facts: TypeAlias = dict[str, str | int | float]
"""Values by column name; a column that is missing is null."""

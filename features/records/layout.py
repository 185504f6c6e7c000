"""How a record file is written: what detection finds out and reading needs."""

from dataclasses import dataclass, field

import pyarrow as pa

from features.records.adapter import Adapter

SEPARATED, JSON_LINES, JSON_ARRAY, PARQUET, EXPORT = "separated", "json", "array", "parquet", "export"


@dataclass(frozen=True)
class Layout:
    """One file's way of being written.

    Attributes:
        adapter: The kind of its records.
        form: SEPARATED, JSON_LINES, JSON_ARRAY (also objects over many lines), PARQUET or EXPORT.
        columns: Names of its columns as the adapter spells them, in order; for JSON those of the adapter.
        delimiter: What separates cells.
        quoted: Whether cells may stand in double quotes.
        skip: Lines before the first record.
        comments: Whether lines that begin with # are no records.
        nulls: Texts that stand for no value.
        types: For JSON, the type of each column to read.
        decimal_comma: Whether numbers are written as 1,5.
        envelope: For JSON, the key of the text that is the record, if the object itself is not.
        own_names: Columns that the file spells in another way; keys of nested JSON are joined with |.
    """

    adapter: Adapter
    form: str
    columns: tuple[str, ...]
    delimiter: str = ","
    quoted: bool = True
    skip: int = 0
    comments: bool = False
    nulls: tuple[str, ...] = ("",)
    types: dict[str, pa.DataType] = field(default_factory=dict)
    own_names: dict[str, str] = field(default_factory=dict)
    decimal_comma: bool = False
    envelope: str = ""

    @property
    def header(self) -> frozenset[str]:
        """The columns as a set."""
        return frozenset(self.columns)

    def own_name(self, column: str) -> str:
        """Return how the file itself spells a column."""
        return self.own_names.get(column, column)

    def targets(self) -> set[str]:
        """Return the targets that the file can give."""
        return self.adapter.targets(self.header)

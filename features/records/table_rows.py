"""Rows of targets to rows of the feature table: identity, own features and context, null wherever nothing is known."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.addresses import address_text
from features.columns import Columns, has_ports, nothing, nullable
from features.community_id import community_ids
from features.records.adapter import TEXTS, TIMES, Floats
from features.records.cells import OTHER_PROTOCOL
from features.records.derive import feature_columns
from features.records.joined import JoinedLogs
from features.records.shown import key_fields, number_or, packed_addresses
from features.schema import COLUMNS, arrow_schema


class TableRows:
    """Rows of targets to rows of the feature table.

    Attributes:
        count: Rows made so far.
        present: Names of the columns that held a value so far.
        cut_short: Rows whose later neighbours did not fit in memory.
    """

    def __init__(self, capture: str, joined: JoinedLogs | None = None) -> None:
        self._capture = capture
        self._joined = joined
        self._schema = arrow_schema()
        self.count = 0
        self.present: set[str] = set()
        self.cut_short = 0

    def rows(self, batch: pa.RecordBatch, context: Columns) -> pa.RecordBatch:
        """Return the feature rows of a batch of targets and its context columns."""
        kinds = {field.name for field in batch.schema if pa.types.is_floating(field.type)}
        numbers = {name: batch.column(name).to_numpy() for name in kinds}
        columns = {**feature_columns(numbers, batch.num_rows), **context}
        identity = self._identity(batch, numbers)
        arrays = [
            identity[name]
            if name in identity
            else (nullable(columns[name]) if name in columns else nothing(batch.num_rows))
            for name in self._schema.names
        ]
        made = pa.RecordBatch.from_arrays(
            [
                array if array.type == field.type else array.cast(field.type)
                for array, field in zip(arrays, self._schema, strict=True)
            ],
            schema=self._schema,
        )
        self.count += batch.num_rows
        self.present |= {
            name for name in set(self._schema.names) - self.present if made.column(name).null_count < made.num_rows
        }
        return made

    def _identity(self, batch: pa.RecordBatch, numbers: dict[str, Floats]) -> dict[str, pa.Array]:
        rows, schema = batch.num_rows, self._schema
        identity = {
            column.name: pa.nulls(rows, schema.field(column.name).type)
            for column in COLUMNS
            if column.role != "feature"
        }
        identity["capture"] = pa.array([self._capture]).take(pa.array(np.zeros(rows, np.int32)))
        identity["flow_id"] = pa.array(np.arange(self.count, self.count + rows))
        moment = schema.field("start").type
        identity |= {name: batch.column(name) for name in TEXTS if name in batch.schema.names}
        for side in ("src", "dst"):
            if side in batch.schema.names:
                identity[f"{side}_ip"] = address_text(packed_addresses(batch, side))
        identity |= {name: batch.column(name).cast(moment) for name in TIMES if name in batch.schema.names}
        identity |= _integers(numbers, rows)
        if self._joined:
            identity |= self._joined.columns(identity["uid"])
        if "src" in batch.schema.names and "protocol" in numbers:
            identity["community_id"] = _completed_ids(batch, identity["community_id"])
        return identity


def _integers(numbers: dict[str, Floats], rows: int) -> dict[str, pa.Array]:
    """Return the identity columns that are integers; ports are null for protocols without."""
    nothing = np.full(rows, np.nan)
    protocol = numbers.get("protocol", nothing)
    known = np.where(protocol == OTHER_PROTOCOL, np.nan, protocol)
    portless = ~np.isnan(protocol) & ~has_ports({"protocol": protocol})
    columns = {"protocol": known}
    for name in ("src_port", "dst_port"):
        columns[name] = np.where(portless, np.nan, numbers.get(name, nothing))
    columns |= {name: numbers.get(name, nothing) for name in ("icmp_type", "icmp_code")}
    return {name: pa.array(values, from_pandas=True).cast(pa.int32()) for name, values in columns.items()}


def _completed_ids(batch: pa.RecordBatch, given: pa.Array) -> pa.Array:
    """Return the Community IDs that the source gives, computed where it gives none and ports or types are known."""
    if not given.null_count:
        return given
    computed = community_ids(key_fields(batch))
    protocol = number_or(batch, "protocol", np.nan)
    ported = has_ports({"protocol": protocol})
    no_ports = np.isnan(number_or(batch, "src_port", np.nan)) | np.isnan(number_or(batch, "dst_port", np.nan))
    no_type = np.isin(protocol, (1, 58)) & np.isnan(number_or(batch, "icmp_type", np.nan))
    unknown = np.isnan(protocol) | (protocol == OTHER_PROTOCOL) | (ported & no_ports) | no_type
    return pc.coalesce(given, pc.if_else(pa.array(unknown), pa.scalar(None, pa.string()), computed))

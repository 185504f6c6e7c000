"""What a row of targets shows to its neighbours and to the Community ID: the few fields of FLOW that both read."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.kernel_types import NEVER
from features.metering.flow_record import Fields
from features.records.adapter import Floats
from features.records.cells import OTHER_PROTOCOL

RESERVED_PROTOCOL = 255


def number_or(batch: pa.RecordBatch, name: str, otherwise: float) -> Floats:
    """Return a number of every row, and something else where it has none."""
    if name not in batch.schema.names:
        return np.full(batch.num_rows, otherwise)
    values = batch.column(name).to_numpy()
    return np.where(np.isnan(values), otherwise, values)


def packed_addresses(batch: pa.RecordBatch, side: str) -> npt.NDArray[np.uint8]:
    """Return the addresses of one side of every row, "src" or "dst", shape (n, 16)."""
    column = batch.column(side)
    start = 16 * column.offset
    return np.frombuffer(column.buffers()[1], np.uint8)[start : start + 16 * batch.num_rows].reshape(-1, 16)


def key_fields(batch: pa.RecordBatch) -> Fields:
    """Return what the Community ID of each row is made of, fields of FLOW, shape (n,) each."""
    protocol = number_or(batch, "protocol", RESERVED_PROTOCOL)
    fields: Fields = {
        "ip_version": batch.column("version").to_numpy(),
        "protocol": np.where(protocol == OTHER_PROTOCOL, RESERVED_PROTOCOL, protocol).astype(np.int64),
        **{side: packed_addresses(batch, side) for side in ("src", "dst")},
    }
    numbers = ("src_port", "dst_port", "icmp_type", "icmp_code")
    return fields | {name: number_or(batch, name, 0).astype(np.int64) for name in numbers}


def shown_fields(batch: pa.RecordBatch) -> Fields:
    """Return what of each row its neighbours see, fields of FLOW, shape (n,) or (n, 2) each.

    Where it is unknown whether an answer came, one is taken to have come.
    """
    seen = [number_or(batch, name, 1) == 1 for name in ("syn_seen", "handshake_seen")]
    sides = {
        name: [number_or(batch, f"{side}_{name}", otherwise) for side in ("fwd", "bwd")]
        for name, otherwise in (("packets", 1), ("bytes", 0), ("payload_bytes", 0))
    }
    return {
        **key_fields(batch),
        **{name: np.stack(values).astype(np.int64).T for name, values in sides.items()},
        "first_ns": batch.column("start").to_numpy(),
        "last_ns": batch.column("end").to_numpy(),
        "established": seen[0] & seen[1],
        "syn_ns": np.where(number_or(batch, "syn_seen", 0) == 1, 0, NEVER),
    }

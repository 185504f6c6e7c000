"""What a row of targets shows to its neighbours and to the Community ID: the few fields of FLOW that both read."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.kernel_types import NEVER
from features.metering.flow_record import FLOW
from features.records.adapter import Floats
from features.records.cells import OTHER_PROTOCOL

RESERVED_PROTOCOL = 255
SHOWN = np.dtype(
    [
        (name, FLOW[name])
        for name in (
            *("src", "dst", "src_port", "dst_port", "protocol", "ip_version", "icmp_type", "icmp_code"),
            *("first_ns", "last_ns", "packets", "bytes", "payload_bytes", "established", "syn_ns"),
        )
    ]
)
"""What of FLOW the neighbours and the Community ID need."""


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


def shown_fields(batch: pa.RecordBatch) -> npt.NDArray[np.void]:
    """Return what of each row its neighbours and its Community ID see, rows of SHOWN.

    Where it is unknown whether an answer came, one is taken to have come.
    """
    shown = np.zeros(batch.num_rows, SHOWN)
    for side in ("src", "dst"):
        shown[side] = packed_addresses(batch, side)
        shown[f"{side}_port"] = number_or(batch, f"{side}_port", 0)
    shown["ip_version"] = batch.column("version").to_numpy()
    protocol = number_or(batch, "protocol", RESERVED_PROTOCOL)
    shown["protocol"] = np.where(protocol == OTHER_PROTOCOL, RESERVED_PROTOCOL, protocol)
    for name in ("icmp_type", "icmp_code"):
        shown[name] = number_or(batch, name, 0)
    for field, name in (("first_ns", "start"), ("last_ns", "end")):
        shown[field] = batch.column(name).to_numpy() if name in batch.schema.names else 0
    for name, otherwise in (("packets", 1), ("bytes", 0), ("payload_bytes", 0)):
        most = np.iinfo(SHOWN[name].base).max
        for index, words in enumerate(("fwd", "bwd")):
            shown[name][:, index] = np.minimum(number_or(batch, f"{words}_{name}", otherwise), most)
    seen = (number_or(batch, name, 1) == 1 for name in ("syn_seen", "handshake_seen"))
    shown["established"] = np.logical_and(*seen)
    shown["syn_ns"] = np.where(number_or(batch, "syn_seen", 0) == 1, 0, NEVER)
    return shown

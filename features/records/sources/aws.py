"""AWS VPC flow logs: space separated, with a header in any order, or in the default format of version 2 without one.

Parquet writes names with underscores (log_status); CloudWatch's export to S3 puts the time of ingestion before a line.

Source: AWS's documentation "Flow log records, available fields" (versions 2 to 5). One direction a record; start and
end are those of the aggregation window, bytes are IP bytes. Rows of NODATA and SKIPDATA hold no flow. Ends are those of
the interface (srcaddr), not those behind a gateway (pkt-srcaddr). Of `tcp-flags`, FIN, SYN, RST and SYN-ACK seen
within the window, resets are taken.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.records.adapter import Adapter, Given, Numbers, Records, every_row
from features.records.cells import numbers
from features.records.sources.letters import only_tcp

RESET = 4
VERSION_2 = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)


def _has_data(raw: Mapping[str, pa.Array]) -> npt.NDArray[np.bool_]:
    if "log-status" not in raw:
        return every_row(raw)
    empty = pc.is_in(raw["log-status"], pa.array(["NODATA", "SKIPDATA"]))
    return ~pc.fill_null(empty, False).to_numpy(zero_copy_only=False)


def _resets(records: Records) -> Numbers:
    if "tcp-flags" not in records.raw:
        return {}
    flags = numbers(records.raw["tcp-flags"].cast(pa.string())).values
    known = (flags >= 0) & (flags < 256)
    resets = np.where(known, (np.where(known, flags, 0).astype(np.int64) & RESET) > 0, np.nan)
    return {"fwd_reset_seen": only_tcp(resets, records.numbers["protocol"])}


AWS_VPC = Adapter(
    name="aws_vpc",
    needs=(("srcaddr",), ("dstaddr",), ("packets",), ("bytes",), ("start",), ("end",), ("protocol",)),
    given=(
        Given("start", ("start",)),
        Given("end", ("end",)),
        Given("src_ip", ("srcaddr",)),
        Given("src_port", ("srcport",)),
        Given("dst_ip", ("dstaddr",)),
        Given("dst_port", ("dstport",)),
        Given("protocol", ("protocol",)),
        Given("fwd_packets", ("packets",)),
        Given("fwd_bytes", ("bytes",)),
    ),
    raw=("log-status", "tcp-flags"),
    keep=_has_data,
    more=_resets,
    gives=("fwd_reset_seen",),
    without_header=(tuple(VERSION_2.split()), ("ingested", *VERSION_2.split())),
)

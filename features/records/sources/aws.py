"""AWS VPC flow logs: space separated, with header or in the default format of version 2 without one.

Source: AWS's documentation "VPC Flow Logs, available fields". One direction a record; start and end are those of the
aggregation window, bytes are IP bytes. Rows of NODATA and SKIPDATA hold no flow.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.records.adapter import Adapter, Given, every_row

VERSION_2 = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)


def _has_data(raw: Mapping[str, pa.Array]) -> npt.NDArray[np.bool_]:
    if "log-status" not in raw:
        return every_row(raw)
    empty = pc.is_in(raw["log-status"], pa.array(["NODATA", "SKIPDATA"]))
    return ~pc.fill_null(empty, False).to_numpy(zero_copy_only=False)


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
    raw=("log-status",),
    keep=_has_data,
    nominal_columns=tuple(VERSION_2.split()),
)

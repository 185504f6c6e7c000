"""Network Activity (class 4001) of the Open Cybersecurity Schema Framework, as JSON lines or Parquet.

Source: OCSF's schema, class network_activity and objects network_endpoint, network_traffic and network_connection_info.
Times and durations are milliseconds; bytes_out and packets_out are of the source, bytes_in and packets_in of the
destination. Events of an opened connection say nothing of its flow yet.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from features.records.adapter import Adapter, Given
from features.records.cells import Mask, numbers

NETWORK_ACTIVITY, OPEN = 4001, 1
MILLISECOND = 1e-3


def _is_flow(raw: Mapping[str, pa.Array]) -> Mask:
    """Return True for events of the class that are not of opening, or do not say."""
    flows: Mask = numbers(raw["class_uid"]).values == NETWORK_ACTIVITY
    opening = numbers(raw["activity_id"]).values == OPEN if "activity_id" in raw else np.zeros(len(flows), bool)
    return flows & ~opening


OCSF_NETWORK = Adapter(
    name="ocsf",
    needs=(("class_uid",), ("src_endpoint|ip",), ("dst_endpoint|ip",), ("start_time",), ("end_time",)),
    given=(
        Given("start", ("start_time",), MILLISECOND),
        Given("end", ("end_time",), MILLISECOND),
        Given("src_ip", ("src_endpoint|ip",)),
        Given("src_port", ("src_endpoint|port",)),
        Given("dst_ip", ("dst_endpoint|ip",)),
        Given("dst_port", ("dst_endpoint|port",)),
        Given("protocol", ("connection_info|protocol_num", "connection_info|protocol_name")),
        Given("community_id", ("connection_info|community_uid",)),
        Given("fwd_packets", ("traffic|packets_out",)),
        Given("bwd_packets", ("traffic|packets_in",)),
        Given("packets", ("traffic|packets",)),
        Given("fwd_bytes", ("traffic|bytes_out",)),
        Given("bwd_bytes", ("traffic|bytes_in",)),
        Given("bytes", ("traffic|bytes",)),
    ),
    raw=("class_uid", "activity_id"),
    keep=_is_flow,
)

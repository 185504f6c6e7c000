"""Flows in the Elastic Common Schema, nested or with dotted names: of Filebeat's modules, Packetbeat and others.

Source: ECS's field reference (source, destination, network, event), Filebeat's modules of Zeek and Suricata, and
Packetbeat's flows. What `source.bytes` counts is left to who writes it: IP bytes in Zeek's connections, frames in
Suricata's and Packetbeat's, of which 14 bytes of Ethernet a packet are taken off; of all others it is taken for IP
bytes. Packetbeat reports a flow again and again while it lasts: the last report counts, which is the one of all of it.
"""

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from features.records.adapter import Adapter, Given, Numbers, Records
from features.records.cells import Mask
from features.records.sources import suricata, zeek

NANOSECOND = 1e-9
SOURCE, DESTINATION = ("source|ip", "source|address"), ("destination|ip", "destination|address")
ENDS = (
    Given("src_ip", SOURCE),
    Given("src_port", ("source|port",)),
    Given("dst_ip", DESTINATION),
    Given("dst_port", ("destination|port",)),
    Given("protocol", ("network|iana_number", "network|transport")),
    Given("community_id", ("network|community_id",)),
    Given("fwd_packets", ("source|packets",)),
    Given("bwd_packets", ("destination|packets",)),
    Given("duration_s", ("event|duration",), NANOSECOND),
)
TIMES = (Given("start", ("event|start",)), Given("end", ("event|end",)))
IP_BYTES = (Given("fwd_bytes", ("source|bytes",)), Given("bwd_bytes", ("destination|bytes",)))
FRAMES = (
    Given("fwd_bytes", ("source|bytes",), 1, ("source|packets",), suricata.ETHERNET),
    Given("bwd_bytes", ("destination|bytes",), 1, ("destination|packets",), suricata.ETHERNET),
)
VOLUMES = ("source|bytes", "source|packets", "network|bytes")
ZEEK_STATE, ZEEK_HISTORY = "zeek|connection|state", "zeek|connection|history"
EVENT_TYPE, FINAL = "suricata|eve|event_type", "flow|final"
FLAGS = {f"tcp|tcp_flags_{side}": f"suricata|eve|tcp|tcp_flags_{side}" for side in ("ts", "tc")}


def _renamed(records: Records, names: Mapping[str, str]) -> Records:
    """Return records whose raw columns have the names of the tool that ECS took them from."""
    found = {ours: records.raw[theirs] for ours, theirs in names.items() if theirs in records.raw}
    return records._replace(raw=found)


def _zeek(records: Records) -> Numbers:
    return zeek.connection_facts(_renamed(records, {"conn_state": ZEEK_STATE, "history": ZEEK_HISTORY}))


def _suricata(records: Records) -> Numbers:
    return suricata.flag_facts(_renamed(records, FLAGS))


def _is_flow(raw: Mapping[str, pa.Array]) -> Mask:
    return pc.fill_null(pc.equal(raw[EVENT_TYPE], "flow"), False).to_numpy(zero_copy_only=False)


def _is_final(raw: Mapping[str, pa.Array]) -> Mask:
    final = pc.equal(pc.utf8_lower(raw[FINAL].cast(pa.string())), "true")
    return pc.fill_null(final, False).to_numpy(zero_copy_only=False)


ECS_ZEEK = Adapter(
    name="ecs_zeek",
    needs=(SOURCE, DESTINATION, (ZEEK_STATE, ZEEK_HISTORY), ("@timestamp",)),
    given=(
        *ENDS,
        *IP_BYTES,
        Given("start", ("@timestamp",)),
        Given("uid", ("zeek|session_id",)),
        Given("conn_state", (ZEEK_STATE,)),
        Given("history", (ZEEK_HISTORY,)),
    ),
    raw=(ZEEK_STATE, ZEEK_HISTORY),
    more=_zeek,
    gives=zeek.FACTS,
)
ECS_SURICATA = Adapter(
    name="ecs_suricata",
    needs=(SOURCE, DESTINATION, (EVENT_TYPE,)),
    given=(*ENDS, *TIMES, *FRAMES),
    raw=(EVENT_TYPE, *FLAGS.values()),
    more=_suricata,
    gives=suricata.FACTS,
    keep=_is_flow,
)
ECS_FLOWS = Adapter(
    name="ecs",
    needs=(SOURCE, DESTINATION, ("event|start",), ("event|end",), VOLUMES),
    given=(*ENDS, *TIMES, *IP_BYTES, Given("packets", ("network|packets",)), Given("bytes", ("network|bytes",))),
)
PACKETBEAT = replace(
    ECS_FLOWS,
    name="packetbeat",
    needs=(*ECS_FLOWS.needs, (FINAL,)),
    given=(*ENDS, *TIMES, *FRAMES, Given("vlan", ("flow|vlan",))),
    raw=(FINAL,),
    keep=_is_final,
)

"""Captures to flows: the meter, its settings and its counts.

Rules, each proved in the tests:

- Key: both addresses, both ports and the protocol, whichever side sent (RFC 5103). ICMP and the protocols that are not
  decoded have no ports. With vlan_in_key also the ids of the VLAN tags, and inside VXLAN and Geneve the network's.
- Layer: the packet outside of tunnels, or the innermost one that can be decoded.
- Direction: forward is the side that sent the first packet; if that is a SYN-ACK, the capture began mid-handshake, and
  its sender is the backward side.
- Clock: the largest packet time so far. A packet before it is counted out of order, keeps its own time and does not
  move the clock back; one more than a second before it counts as exactly a second late.
- Stray times: a packet more than an hour ahead of both the clock and the packet after it does not move the clock; it is
  counted and metered as if it came at the clock's time. A pause is real when the next packet bears it out.
- Idle timeout: a flow ends when the clock reaches its latest packet's plus the timeout. Active timeout: a packet later
  than the first one's time plus the timeout begins a new flow, and so does one after MOST_PACKETS.
- TCP: FIN from both sides or any RST closes a flow; it stays for stragglers until the clock is tcp_grace_s further or a
  SYN opens the next one.
- Fragments: a later fragment belongs to the flow of its first one, which must have come before it, at most 60 s, and
  be one of the latest 4,096 (RFC 791 and 8200: addresses, identification, IPv4's protocol). Others are skipped.
- Full table: the flow that is silent for longest leaves as forced. Flows are kept in that order to a second: one
  that is heard of again within a second keeps its place.
- A flow leaves the table at most a second after its end by the clock, whether or not packets of its own come.

Block sizes, hash seeds and cuts between files change nothing in what comes out, nor in its order.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.captures.bundles import unbundled
from features.captures.byte_source import can_be_read_again
from features.captures.capture import BLOCK_BYTES, FRAMES_PER_CHUNK, open_capture
from features.captures.packet import PACKET, SkipReason, Tunnel, decode_frames, new_fragments, new_tunnels
from features.errors import ConfigError
from features.kernel_types import NEVER
from features.metering.flow_record import FLOW, EndReason
from features.metering.flow_table import HASH_WORDS, Limits, Table, new_table
from features.metering.meter_kernel import LATENESS_NS, RELINK_NS, end_capture, meter_packets, with_more_slots
from features.payload.flow_facts import read_payloads
from features.payload.snippets import taken_out
from features.payload.waiting import LARGEST_NUMBER

BATCH_FLOWS = 16_384
FIRST_FRAGMENTS = 4096
LARGEST_SETTING = 1e9
LAYERS = ("outer", "inner")


@dataclass(frozen=True)
class MeterSettings:
    """When a flow ends, in seconds of packet time, and what makes it one.

    Attributes:
        layer: Which packet is metered: the "outer" one, or the "inner" one of tunnels.
        vlan_in_key: Equal addresses and ports in two VLANs, or two VXLAN networks, are two flows.

    Raises:
        ConfigError: A number is not positive, tcp_grace_s is longer than idle_timeout_s, or there is no such layer.
    """

    idle_timeout_s: float = 60.0
    active_timeout_s: float = 300.0
    tcp_grace_s: float = 1.0
    activity_gap_s: float = 1.0
    max_flows: int = 1_000_000
    layer: str = "outer"
    vlan_in_key: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be metered by."""
        if self.layer not in LAYERS:
            raise ConfigError("there is no such layer to meter", "layer", " or ".join(LAYERS), self.layer)
        for name in ("idle_timeout_s", "active_timeout_s", "tcp_grace_s", "activity_gap_s", "max_flows"):
            value = getattr(self, name)
            if not 0 < value <= LARGEST_SETTING:
                raise ConfigError(
                    "a meter setting is out of range", name, f"above 0, at most {LARGEST_SETTING:g}", f"{value}"
                )
        if self.tcp_grace_s > self.idle_timeout_s:
            expected = f"at most idle_timeout_s, {self.idle_timeout_s}"
            raise ConfigError("the TCP grace outlives the idle timeout", "tcp_grace_s", expected, f"{self.tcp_grace_s}")

    def limits(self) -> Limits:
        """Return the same in the kernel's units."""
        return Limits(
            idle_ns=round(self.idle_timeout_s * 1e9),
            active_ns=round(self.active_timeout_s * 1e9),
            grace_ns=round(self.tcp_grace_s * 1e9),
            activity_gap_ns=round(self.activity_gap_s * 1e9),
            max_flows=self.max_flows,
        )


@dataclass(frozen=True)
class FlowBatch:
    """Finished flows, in the order in which they left the table.

    Attributes:
        flows: FLOW rows, BATCH_FLOWS of them but in the last batch.
        watermark_ns: Every flow whose last_ns is smaller has been handed out, in this batch or before.
        facts: What the payloads of these flows say: columns of the group "payload", a row for each number in the flows'
            field of that name, in rising order.
    """

    flows: np.ndarray
    watermark_ns: int
    facts: pa.RecordBatch


@dataclass
class Paused:
    """Where a pass over captures paused.

    Attributes:
        arrays: What the meter keeps, by name; empty before the first pass.
        records: Of each file, the packets read of it so far.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    records: dict[Path, int] = field(default_factory=dict)


class CaptureMeter:
    """Turns captures into batches of finished flows.

    Attributes:
        counts: Complete once meter() is exhausted: packets_read, packets_metered, packets_out_of_order,
            packets_astray_in_time, payloads_without_room,
            "skipped.REASON" each, flows, "ended.REASON" each; packets_read is packets_metered and all that was skipped.
            Of the inner layer also "tunnels.KIND" each, once for every tunnel that a packet lay in.
    """

    def __init__(self, settings: MeterSettings = MeterSettings(), block_bytes: int = BLOCK_BYTES) -> None:
        self._settings = settings
        self._block_bytes = block_bytes
        self.counts: dict[str, int] = {}

    def meter(self, paths: Sequence[Path], paused: Paused | None = None) -> Iterator[FlowBatch]:
        """Meter several files as one capture, in the given order.

        Args:
            paths: The files.
            paused: Where an earlier pass paused; this one goes on there and pauses at its end instead of ending, and
                counts what it met itself.

        Raises:
            CaptureError: A file cannot be read, or is damaged; every file (but pipes and standard input) is opened once
                before the first is metered.
        """
        for path in filter(can_be_read_again, paths):
            open_capture(path).close()
        run = _Run(self._settings)
        if paused and paused.arrays:
            run.go_on(paused.arrays)
        before = run.counts()
        for path in paths:
            yield from run.file(path, self._block_bytes, paused)
        if paused is None:
            yield from run.end()
        else:
            yield run.pause(paused)
        self.counts = {name: count - before[name] for name, count in run.counts().items()}


class _Run:
    """The state of one pass over captures."""

    def __init__(self, settings: MeterSettings) -> None:
        random = np.frombuffer(np.random.default_rng().bytes(8 * (HASH_WORDS + 7)), dtype=np.uint64)
        hash_keys, fragment_keys = random[: HASH_WORDS + 1].copy(), random[HASH_WORDS + 1 :].copy()
        self._limits = settings.limits()
        self._vlan_in_key = settings.vlan_in_key
        self._table: Table = new_table(settings.max_flows, BATCH_FLOWS, hash_keys)
        self._packets = np.zeros(FRAMES_PER_CHUNK, dtype=PACKET)
        self._skipped = np.zeros(len(SkipReason), dtype=np.int64)
        self._fragments = new_fragments(FIRST_FRAGMENTS, fragment_keys)
        self._tunnels = new_tunnels(FRAMES_PER_CHUNK) if settings.layer == "inner" else None
        self._next_facts = 0

    def file(self, path: Path, block_bytes: int, paused: Paused | None = None) -> Iterator[FlowBatch]:
        """Meter one file, of one that was read before what has come since; a torn record is then not yet there."""
        known = paused.records.get(path, 0) if paused else 0
        read = 0
        with open_capture(path, block_bytes) as capture:
            for frames in capture:
                rows = frames.rows[max(known - read, 0) :]
                read += len(frames.rows)
                for part in unbundled(frames.block, rows, FRAMES_PER_CHUNK):
                    yield from self._meter(self._decoded(frames.block, part), frames.block)
            if paused is None:
                self._skipped[SkipReason.TORN_RECORD] += capture.torn_records
            else:
                paused.records[path] = read

    def _decoded(self, block: np.ndarray, rows: np.ndarray) -> np.ndarray:
        kept = decode_frames(block, rows, self._packets, self._skipped, self._fragments, self._tunnels)
        if not self._vlan_in_key:
            self._packets["vlan"][:kept] = 0
        return self._packets[:kept]

    def _meter(self, packets: np.ndarray, block: np.ndarray) -> Iterator[FlowBatch]:
        at = meter_packets(self._table, self._limits, packets, 0, block)
        while at < len(packets):
            if self._exported() == BATCH_FLOWS:
                yield self._hand_out(self._watermark_ns())
            else:
                self._table = with_more_slots(self._table)
            at = meter_packets(self._table, self._limits, packets, at, block)

    def end(self) -> Iterator[FlowBatch]:
        """Hand out what is left; a packet that is still held is believed."""
        state = self._table.state
        held = self._table.held[: int(state["holding"][0])].copy()
        if len(held):
            state["holding"], state["clock_ns"] = 0, held["time_ns"]
            yield from self._meter(held, self._table.snippets.held)
        while not end_capture(self._table, self._limits):
            yield self._hand_out(self._watermark_ns())
        if self._exported():
            yield self._hand_out(int(self._table.state["clock_ns"][0]) + 1)

    def pause(self, paused: Paused) -> FlowBatch:
        """Return the flows that have ended, and keep all that the next pass needs."""
        batch = self._hand_out(self._watermark_ns())
        used = int(self._table.state["fresh"][0])
        chunks = int(self._table.snippets.state["fresh"][0])
        parts = {"table.live": used, "table.flows": used, "snippets.chunks": chunks}
        paused.arrays.update({name: array[: parts.get(name)].copy() for name, array in self._kept().items()})
        paused.arrays["next_facts"] = np.array([self._next_facts])
        return batch

    def go_on(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take up what an earlier pass kept, as bytes."""
        for name, array in self._kept().items():
            kept = arrays[name].view(np.uint8).view(array.dtype)
            if name == "table.slots":
                self._table = self._table._replace(slots=kept.copy())
            else:
                array.reshape(-1)[: len(kept)] = kept
        self._next_facts = int(arrays["next_facts"].view(np.int64)[0])

    def _kept(self) -> dict[str, np.ndarray]:
        """Return by name the arrays that are more than room to work in."""
        table = {name: getattr(self._table, name) for name in ("slots", "live", "flows", "state", "hash_keys", "held")}
        snippets = {name: getattr(self._table.snippets, name) for name in ("chunks", "state", "held")}
        named = {"table": table, "snippets": snippets, "fragments": self._fragments._asdict()}
        arrays = {f"{owner}.{name}": array for owner, owned in named.items() for name, array in owned.items()}
        tunnels = {"tunnels": self._tunnels.counts} if self._tunnels else {}
        return {**arrays, "skipped": self._skipped, **tunnels}

    def _exported(self) -> int:
        return int(self._table.state["exported"][0])

    def _watermark_ns(self) -> int:
        """Return the time before which no flow is live and no flow can begin."""
        return int(self._table.state["swept_ns"][0]) - self._limits.idle_ns - RELINK_NS - LATENESS_NS

    def _hand_out(self, watermark_ns: int) -> FlowBatch:
        flows = self._table.export[: self._exported()]
        facts = self._facts(flows)
        self._table.state["exported"] = 0
        self._table = self._table._replace(export=np.empty(BATCH_FLOWS, FLOW))
        return FlowBatch(flows, watermark_ns, facts)

    def _facts(self, flows: np.ndarray) -> pa.RecordBatch:
        """Return what the flows' payloads say, and write the numbers of its rows to the flows."""
        flows["facts"] = NEVER
        rows = np.flatnonzero((self._table.snippets.export[: len(flows)] != NEVER).any(axis=1))
        ports = np.stack([flows["src_port"][rows], flows["dst_port"][rows]], axis=1)
        said, facts = read_payloads(flows["protocol"][rows], ports, taken_out(self._table.snippets, rows))
        flows["facts"][rows[said]] = self._next_facts + np.arange(len(said)) & LARGEST_NUMBER
        self._next_facts = self._next_facts + len(said) & LARGEST_NUMBER
        return facts

    def counts(self) -> dict[str, int]:
        """Return the counts of CaptureMeter."""
        state = self._table.state[0]
        ended = {f"ended.{reason.name.lower()}": int(state["ended"][reason]) for reason in EndReason}
        skipped = {f"skipped.{r.name.lower()}": int(self._skipped[r]) for r in SkipReason if r != SkipReason.NONE}
        return {
            "packets_read": int(self._skipped.sum()),
            "packets_metered": int(self._skipped[SkipReason.NONE]),
            "packets_out_of_order": int(state["out_of_order"]),
            "packets_astray_in_time": int(state["astray"]),
            "payloads_without_room": int(self._table.snippets.state["without_room"][0]),
            **skipped,
            **self._tunnel_counts(),
            "flows": sum(ended.values()),
            **ended,
        }

    def _tunnel_counts(self) -> dict[str, int]:
        if not self._tunnels:
            return {}
        return {f"tunnels.{kind.name.lower()}": int(self._tunnels.counts[kind]) for kind in Tunnel if kind}

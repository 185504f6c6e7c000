"""The meter's kernel: packets in, finished flows out, in one pass without allocation.

A flow moves to the end of its list at most once in RELINK_NS, so that a busy flow costs no list work; the sweep allows
for it by handing a flow out at most that much later. Every njit function that the kernel calls lives in this file,
because numba's cache on disk looks for changes in one source file only.

Sources: RFC 5103 (biflows), RFC 5102 (end reasons), Lemire and Kaser 2014, "Strongly universal string hashing is fast"
(multilinear hashing with random keys: no sender can aim for collisions), Knuth 6.4 (deletion from linear probing).
"""

import numpy as np

from features.captures.packet_record import LATER_FRAGMENT
from features.kernel_types import NEVER, Int, Record, kernel, part
from features.metering.flow_record import FIRST_PACKETS, FLOW, LARGEST_FIRST_PAYLOAD, MOST_PACKETS, EndReason
from features.metering.flow_table import CLOSED_LIST, HASH_WORDS, OPEN_LIST, Limits, Table, new_slots
from features.metering.zeek_state import HISTORY_WORDS, LETTER_BITS, LETTERS_PER_WORD, Endpoint, Letter
from features.payload.snippets import CHUNK_BYTES, HELLO_BYTES, SIDE_BYTES, Snippets
from features.prefetch import LINE_BYTES, prefetch

RELINK_NS = 1_000_000_000
LATENESS_NS = 1_000_000_000
"""A packet that is later than this behind the clock is metered as if it were this late."""
LEAP_NS = 3_600_000_000_000
"""A packet that is more than this ahead of both the clock and the next packet has not the time that it says."""

FLOW_BYTES = FLOW.itemsize
SECONDS = 1e-9
TCP = 6
FIN, SYN, RST, ACK = 1, 2, 4, 16
SYN_KIND, REPEATED_KIND = 0, 1


@part
def _insert_slot(slots: np.ndarray, entry: np.uint64) -> None:
    mask = np.uint64(len(slots) - 1)
    at = entry >> np.uint64(32) & mask
    while slots[at]:
        at = at + np.uint64(1) & mask
    slots[at] = entry


@kernel
def _refill_slots(old: np.ndarray, new: np.ndarray) -> None:
    for entry in old:
        if entry:
            _insert_slot(new, entry)


@part
def _delete_slot(slots: np.ndarray, entry: np.uint64) -> None:
    """Take an entry out and move those behind it up, so that no probe meets a gap before its entry."""
    mask = np.uint64(len(slots) - 1)
    one, shift = np.uint64(1), np.uint64(32)
    hole = entry >> shift & mask
    while slots[hole] != entry:
        hole = hole + one & mask
    at = hole + one & mask
    while slots[at]:
        home = slots[at] >> shift & mask
        if at - home & mask >= at - hole & mask:
            slots[hole] = slots[at]
            hole = at
        at = at + one & mask
    slots[hole] = 0


@part
def _link(table: Table, which: Int, row: Int) -> None:
    """Put a row at the end of a list."""
    state, live = table.state[0], table.live
    tail = state.tail[which]
    live[row].previous = tail
    live[row].next = NEVER
    live[row].linked_ns = state.clock_ns
    if tail == NEVER:
        state.head[which] = row
    else:
        live[tail].next = row
    state.tail[which] = row


@part
def _unlink(table: Table, which: Int, row: Int) -> None:
    state, live = table.state[0], table.live
    before, after = live[row].previous, live[row].next
    if before == NEVER:
        state.head[which] = after
    else:
        live[before].next = after
    if after == NEVER:
        state.tail[which] = before
    else:
        live[after].previous = before


@part
def _expect(table: Table, row: Int) -> None:
    """Ask for the memory of a flow that will soon be needed, if there is one."""
    if row != NEVER:
        prefetch(table.live, row, 0)
        for byte in range(0, FLOW_BYTES, LINE_BYTES):
            prefetch(table.flows, row, byte)


@part
def _finish(table: Table, row: Int, reason: Int) -> None:
    """Move a flow from the table to the export buffer, which has room."""
    state, entry = table.state[0], table.live[row]
    _expect(table, np.int64(entry.next))  # which is likely to finish next
    _delete_slot(table.slots, np.uint64(entry.tag) << np.uint64(32) | np.uint64(row + 1))
    _unlink(table, np.int64(entry.closed), row)
    table.export[state.exported] = table.flows[row]
    table.export[state.exported].end_reason = reason
    table.snippets.export[state.exported, 0] = entry.snippets[0]
    table.snippets.export[state.exported, 1] = entry.snippets[1]
    state.exported += 1
    state.ended[reason] += 1
    entry.next = state.free
    state.free = row
    state.live -= 1


@part
def _reason_now(table: Table, limits: Limits, row: Int) -> Int:
    """Return why a flow has ended by the clock, 0 if it has not."""
    entry, clock_ns = table.live[row], table.state[0].clock_ns
    if entry.closed:
        return EndReason.TCP_END.value if clock_ns - entry.linked_ns >= limits.grace_ns else 0
    return EndReason.IDLE.value if clock_ns - entry.seen_ns >= limits.idle_ns else 0


@part
def _sweep(table: Table, limits: Limits) -> bool:
    """Hand out the flows that have ended by the clock; False when the export buffer was full before all were out."""
    state, live = table.state[0], table.live
    while True:
        if state.exported == len(table.export):
            return False
        closed, opened = np.int64(state.head[CLOSED_LIST]), np.int64(state.head[OPEN_LIST])
        if closed != NEVER and state.clock_ns - live[closed].linked_ns >= limits.grace_ns:
            _finish(table, closed, EndReason.TCP_END.value)
        elif opened != NEVER and state.clock_ns - live[opened].linked_ns >= limits.idle_ns + RELINK_NS:
            _finish(table, opened, EndReason.IDLE.value)
        else:
            state.swept_ns = state.clock_ns
            return True


@part
def _from_low(packet: Record) -> bool:
    """Tell whether the packet's sender is the lower end of its key."""
    if packet.src_high != packet.dst_high:
        return packet.src_high < packet.dst_high
    if packet.src_low != packet.dst_low:
        return packet.src_low < packet.dst_low
    return packet.src_port <= packet.dst_port


@part
def _tag(packet: Record, keys: np.ndarray) -> np.uint32:
    """Return the hash of the packet's key: the same for both directions."""
    if _from_low(packet):
        low_high, low_low, high_high, high_low = packet.src_high, packet.src_low, packet.dst_high, packet.dst_low
        ports = np.uint64(packet.src_port) << np.uint64(16) | np.uint64(packet.dst_port)
    else:
        low_high, low_low, high_high, high_low = packet.dst_high, packet.dst_low, packet.src_high, packet.src_low
        ports = np.uint64(packet.dst_port) << np.uint64(16) | np.uint64(packet.src_port)
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    total = keys[HASH_WORDS] + keys[0] * ports + keys[1] * np.uint64(packet.protocol)
    total += keys[2] * (low_high & low) + keys[3] * (low_high >> shift)
    total += keys[4] * (low_low & low) + keys[5] * (low_low >> shift)
    total += keys[6] * (high_high & low) + keys[7] * (high_high >> shift)
    total += keys[8] * (high_low & low) + keys[9] * (high_low >> shift)
    total += keys[10] * np.uint64(packet.vlan)
    return _spread(total >> shift)


@part
def _spread(value: np.uint64) -> np.uint32:
    """Return 32 bits one to one (MurmurHash3's finaliser): keys in a row must not fill slots in a row."""
    value = (value ^ value >> np.uint64(16)) * np.uint64(0x85EBCA6B) & np.uint64(0xFFFFFFFF)
    value = (value ^ value >> np.uint64(13)) * np.uint64(0xC2B2AE35) & np.uint64(0xFFFFFFFF)
    return np.uint32(value ^ value >> np.uint64(16))


@part
def _swapped(word: np.uint64) -> np.uint64:
    """Return eight bytes in the opposite order: an address's number as its bytes lie in a FLOW row."""
    for bits, mask in ((8, 0x00FF00FF00FF00FF), (16, 0x0000FFFF0000FFFF), (32, 0x00000000FFFFFFFF)):
        shift, kept = np.uint64(bits), np.uint64(mask)
        word = (word & kept) << shift | word >> shift & kept
    return word


@part
def _is_forward(table: Table, row: Int, packet: Record) -> bool:
    """Tell whether the packet is from the flow's src to its dst."""
    flow, words = table.flows[row], table.words[row]
    return (
        words[1] == _swapped(packet.src_low)
        and words[3] == _swapped(packet.dst_low)
        and flow.src_port == packet.src_port
        and flow.dst_port == packet.dst_port
        and words[0] == _swapped(packet.src_high)
        and words[2] == _swapped(packet.dst_high)
    )


@part
def _is_backward(table: Table, row: Int, packet: Record) -> bool:
    """Tell whether the packet is from the flow's dst to its src."""
    flow, words = table.flows[row], table.words[row]
    return (
        words[3] == _swapped(packet.src_low)
        and words[1] == _swapped(packet.dst_low)
        and flow.dst_port == packet.src_port
        and flow.src_port == packet.dst_port
        and words[2] == _swapped(packet.src_high)
        and words[0] == _swapped(packet.dst_high)
    )


@part
def _find(table: Table, packet: Record, tag: np.uint32) -> Int:
    """Return the row of the live flow with the packet's key, NEVER if there is none."""
    slots, shift = table.slots, np.uint64(32)
    mask = np.uint64(len(slots) - 1)
    at = np.uint64(tag) & mask
    while slots[at]:
        if slots[at] >> shift == np.uint64(tag):
            row = np.int64(slots[at] & np.uint64(0xFFFFFFFF)) - 1
            flow = table.flows[row]
            if (
                flow.protocol == packet.protocol
                and flow.vlan == packet.vlan
                and (_is_forward(table, row, packet) or _is_backward(table, row, packet))
            ):
                return row
        at = at + np.uint64(1) & mask
    return NEVER


@part
def _free_row(state: Record, live: np.ndarray) -> Int:
    """Take a row that is not in use, which there is."""
    row = np.int64(state.free)
    if row == NEVER:
        row = np.int64(state.fresh)
        state.fresh = row + 1
    else:
        state.free = live[row].next
    return row


@part
def _open_flow(table: Table, packet: Record, tag: np.uint32, time_ns: Int) -> Int:
    """Start a flow in a row that is not in use, which there is, and return the row."""
    state = table.state[0]
    row = _free_row(state, table.live)
    state.live += 1
    entry, flow, words = table.live[row], table.flows[row], table.words[row]
    table.flows[row] = table.blank[0]
    reverse = packet.flags & (SYN | ACK) == SYN | ACK and (
        packet.src_high != packet.dst_high or packet.src_low != packet.dst_low or packet.src_port != packet.dst_port
    )
    src, dst = (2, 0) if reverse else (0, 2)
    words[src], words[src + 1] = _swapped(packet.src_high), _swapped(packet.src_low)
    words[dst], words[dst + 1] = _swapped(packet.dst_high), _swapped(packet.dst_low)
    flow.src_port = packet.dst_port if reverse else packet.src_port
    flow.dst_port = packet.src_port if reverse else packet.dst_port
    flow.protocol, flow.ip_version, flow.vlan = packet.protocol, packet.ip_version, packet.vlan
    flow.icmp_type, flow.icmp_code = packet.icmp_type, packet.icmp_code
    flow.first_ns = flow.last_ns = flow.active_start_ns = time_ns
    entry.tag = tag
    entry.fins = entry.numbered = entry.closed = entry.wanted = 0
    entry.snippets[0] = entry.snippets[1] = NEVER
    if reverse:
        _add_letter(flow, Letter.TURNED.value)
    _insert_slot(table.slots, np.uint64(tag) << np.uint64(32) | np.uint64(row + 1))
    _link(table, OPEN_LIST, row)
    return row


@part
def _add_gap(flow: Record, which: Int, gap: Int) -> None:
    seconds = np.float32(gap * SECONDS)
    flow.gap_min_s[which] = min(flow.gap_min_s[which], seconds)
    flow.gap_max_s[which] = max(flow.gap_max_s[which], seconds)
    flow.gap_sq[which] += np.float64(gap) * np.float64(gap)


@part
def _add_times(flow: Record, way: Int, time_ns: Int, activity_gap_ns: Int) -> Int:
    """Add the packet's time; returns the gap since the packet before, 0 for the first and for one out of order."""
    gap = max(time_ns - flow.last_ns, 0)
    if flow.packets[0] + flow.packets[1] > 0:
        _add_gap(flow, 2, gap)
        flow.out_of_order[way] += time_ns < flow.last_ns
    if flow.packets[way] > 0:
        _add_gap(flow, way, max(time_ns - flow.dir_last_ns[way], 0))
    else:
        flow.dir_first_ns[way] = time_ns
    if gap > activity_gap_ns:
        run_s = np.float32((flow.last_ns - flow.active_start_ns) * SECONDS)
        flow.active_count += 1
        flow.active_max_s = max(flow.active_max_s, run_s)
        flow.idle_sum += gap
        flow.active_start_ns = time_ns
    flow.dir_last_ns[way] = max(flow.dir_last_ns[way], time_ns)
    flow.last_ns = max(flow.last_ns, time_ns)
    return gap


@part
def _add_volume(flow: Record, way: Int, packet: Record, time_ns: Int) -> None:
    length, payload = packet.length, packet.payload
    if flow.packets[way] == 0 or length < flow.length_min[way]:
        flow.length_min[way] = length
    flow.length_max[way] = max(flow.length_max[way], length)
    flow.packets[way] += 1
    flow.bytes[way] += length
    flow.length_sq[way] += np.float64(length) * np.float64(length)
    if payload > 0:
        flow.payload_bytes[way] += payload
        flow.data_packets[way] += 1
        flow.payload_max[way] = max(flow.payload_max[way], payload)
        flow.payload_sq[way] += np.float64(payload) * np.float64(payload)
        if flow.data_packets[way] == 1:
            flow.first_payload_s[way] = np.float32((time_ns - flow.first_ns) * SECONDS)
    flow.ttl_min[way] = min(flow.ttl_min[way], packet.ttl)
    flow.ttl_max[way] = max(flow.ttl_max[way], packet.ttl)
    flow.fragments[way] += packet.fragment > 0


@part
def _add_first(flow: Record, way: Int, packet: Record, gap: Int) -> None:
    at = flow.packets[0] + flow.packets[1] - 1
    if at < FIRST_PACKETS:
        flow.first_backward |= way << at
        flow.first_payload[at] = min(packet.payload, LARGEST_FIRST_PAYLOAD)
        flow.first_gap_s[at] = np.float32(gap * SECONDS)


@part
def _add_sequence(flow: Record, entry: Record, way: Int, packet: Record) -> None:
    """Follow the sequence numbers, modulo 2**32; a RST's own number says nothing of the sender's."""
    flags = np.int64(packet.flags)
    if flags & RST:
        return
    span = packet.payload + (flags & FIN) + (flags >> 1 & 1)
    end = np.uint32(np.int64(packet.seq) + span)
    if not entry.numbered >> way & 1:
        entry.numbered |= 1 << way
        flow.next_seq[way] = end
        return
    if span and np.int32(np.uint32(packet.seq) - flow.next_seq[way]) < 0:
        flow.retransmissions[way] += 1
    if np.int32(end - flow.next_seq[way]) > 0:
        flow.next_seq[way] = end


@part
def _add_handshake(flow: Record, way: Int, flags: Int, time_ns: Int) -> None:
    if way == 0 and flags & (SYN | ACK) == SYN and flow.syn_ns == NEVER:
        flow.syn_ns = time_ns
    elif way == 1 and flags & (SYN | ACK) == SYN | ACK and flow.syn_ack_ns == NEVER:
        flow.syn_ack_ns = time_ns
    elif way == 0 and flags & (SYN | ACK | RST) == ACK and flow.syn_ack_ns != NEVER and flow.handshake_ns == NEVER:
        flow.handshake_ns = time_ns
    flow.established = NEVER not in (flow.handshake_ns, flow.syn_ns)


@part
def _add_window(flow: Record, way: Int, packet: Record) -> None:
    window = packet.window
    if window == NEVER:
        return
    if flow.window_min[way] > flow.window_max[way]:  # before the first window
        flow.window_first[way] = window
    flow.window_min[way] = min(flow.window_min[way], window)
    flow.window_max[way] = max(flow.window_max[way], window)
    flow.zero_windows[way] += window == 0 and not packet.flags & RST


@part
def _add_letter(flow: Record, letter: Int) -> None:
    """Write a letter to the first free place of the history, to none when it is full."""
    for word in range(HISTORY_WORDS):
        for place in range(LETTERS_PER_WORD):
            shift = np.uint32(place * LETTER_BITS)
            if not flow.history[word] >> shift & np.uint32(31):
                flow.history[word] |= np.uint32(letter) << shift
                return


@part
def _is_first(flow: Record, way: Int, kind: Int) -> bool:
    """Tell whether the side has sent no packet of this kind, 0 to 7, and remember that now it has."""
    first = not flow.letters_seen[way] >> kind & 1
    flow.letters_seen[way] |= 1 << kind
    return first


@part
def _is_power_of_ten(count: Int) -> bool:
    while count > 1 and count % 10 == 0:
        count //= 10
    return count == 1


@part
def _add_flag_letter(flow: Record, way: Int, packet: Record) -> None:
    """Write the letter of a packet's flags or payload, unless it says nothing new."""
    flags, letter, is_new = np.int64(packet.flags), 0, False
    ends = flags & (SYN | FIN | RST)
    if ends == 0:
        letter = Letter.DATA.value if packet.payload > 0 else Letter.ACK.value if flags & ACK else 0
    elif ends == SYN:
        letter = Letter.SYN_ACK.value if flags & ACK else Letter.SYN.value
    elif ends == FIN:
        letter = Letter.FIN.value
        is_new = np.uint32(np.int64(packet.seq) + packet.payload + 1) != flow.next_seq[way]
    elif ends == RST:
        letter, number = Letter.RST.value, np.int64(packet.seq) & 0xFF
        is_new = number != flow.reset_seq[way]
        flow.reset_seq[way] = number
    else:
        letter = Letter.FIN_RST.value if ends & FIN and ends & RST else Letter.SYN_END.value
    kind = SYN_KIND if ends == SYN else letter >> 1
    if letter and (_is_first(flow, way, kind) or is_new):
        _add_letter(flow, letter + way)


@part
def _add_counted_letters(flow: Record, entry: Record, way: Int, packet: Record) -> None:
    """Write the letters of the 1st, 10th, 100th ... zero window and repeated payload.

    The 10th repeat and so on are those of flow.retransmissions, which also counts SYN, FIN and payload sent in part.
    """
    flags = np.int64(packet.flags)
    if flow.endpoint[way] >= Endpoint.RESET.value:
        return
    waits = packet.window == 0 and not flags & RST and flow.endpoint[1 - way] != Endpoint.CLOSED.value
    if waits and _is_power_of_ten(flow.zero_windows[way]):
        _add_letter(flow, Letter.ZERO_WINDOW.value + way)
    if packet.payload > 0 and entry.numbered >> way & 1:
        span = (0 if flags & RST else packet.payload) + (flags & FIN) + (flags >> 1 & 1)
        if np.int32(np.uint32(np.int64(packet.seq) + span) - flow.next_seq[way]) <= 0:
            first, count = _is_first(flow, way, REPEATED_KIND), flow.retransmissions[way] + 1
            if first or (count > 1 and _is_power_of_ten(count)):
                _add_letter(flow, Letter.REPEATED.value + way)


@part
def _state_at_first(flow: Record, way: Int, packet: Record) -> Int:
    """Return the state of a side after its first packet, FIN and RST aside; a SYN's answer establishes both."""
    flags, other = np.int64(packet.flags), flow.endpoint[1 - way]
    if flags & SYN and way == 0:
        return Endpoint.SYN_ACK_SENT.value if flags & ACK else Endpoint.SYN_SENT.value
    if flags & SYN:
        if other == Endpoint.SYN_SENT.value:
            flow.endpoint[0] = Endpoint.ESTABLISHED.value
        return Endpoint.ESTABLISHED.value
    if flags & (FIN | RST):
        return Endpoint.INACTIVE.value
    if way == 1 and packet.payload == 0 and other == Endpoint.SYN_SENT.value:
        return Endpoint.INACTIVE.value  # some acknowledge a SYN before they answer it
    opened = flags & ACK and other == Endpoint.ESTABLISHED.value
    return Endpoint.ESTABLISHED.value if opened else Endpoint.PARTIAL.value


@part
def _state_before_answer(flags: Int, state: Int) -> Int:
    """Return the state of a side that has said no more than SYN, or nothing, after these flags."""
    if flags & RST:
        return Endpoint.RESET_AFTER_FIN.value if flags & FIN else Endpoint.RESET.value
    return Endpoint.CLOSED.value if flags & FIN else state


@part
def _state_when_open(flow: Record, way: Int, flags: Int) -> Int:
    """Return the state of an open side after these flags; a FIN makes of the other's RST after its FIN a mere end."""
    state, other = flow.endpoint[way], flow.endpoint[1 - way]
    if flags & RST:
        return Endpoint.RESET.value
    if flags & FIN:
        if other == Endpoint.RESET_AFTER_FIN.value:
            flow.endpoint[1 - way] = Endpoint.CLOSED.value
        return Endpoint.CLOSED.value
    begins = flags & (SYN | ACK) == SYN and state == Endpoint.PARTIAL.value and other == Endpoint.INACTIVE.value
    return Endpoint.SYN_SENT.value if begins else np.int64(state)


@part
def _follow_state(flow: Record, way: Int, packet: Record) -> None:
    """Bring the state of both ends up to date, as Zeek does."""
    flags, state = np.int64(packet.flags), flow.endpoint[way]
    if state == Endpoint.INACTIVE.value:
        flow.endpoint[way] = _state_before_answer(flags, _state_at_first(flow, way, packet))
    elif flags & (SYN | FIN | RST) == 0:
        return
    elif state == Endpoint.CLOSED.value:
        if flags & RST and flow.endpoint[1 - way] != Endpoint.CLOSED.value:
            flow.endpoint[way] = Endpoint.RESET_AFTER_FIN.value
    elif state < Endpoint.PARTIAL.value:
        flow.endpoint[way] = _state_before_answer(flags, np.int64(state))
    elif state < Endpoint.RESET.value:
        flow.endpoint[way] = _state_when_open(flow, way, flags)


@part
def _take_chunk(snippets: Snippets) -> Int:
    """Return a chunk that is not in use, NEVER (and count it) if there is none."""
    chunks, state = snippets.chunks, snippets.state[0]
    chunk = np.int64(state.free)
    if chunk != NEVER:
        state.free = chunks[chunk].next
    elif state.fresh < len(chunks):
        chunk = np.int64(state.fresh)
        state.fresh += 1
    else:
        state.without_room += 1
        return NEVER
    chunks[chunk].next = NEVER
    chunks[chunk].tail = chunk
    chunks[chunk].length = 0
    return chunk


@part
def _append(snippets: Snippets, first: Int, most: Int, block: np.ndarray, at: Int, stop: Int) -> Int:
    """Append block[at:stop] to a side until it has most bytes; return the index of the first byte left out."""
    chunks = snippets.chunks
    head = chunks[first]
    while at < stop and head.length < most:
        within = head.length % CHUNK_BYTES
        if within == 0 and head.length:
            chunk = _take_chunk(snippets)
            if chunk == NEVER:
                return at
            chunks[head.tail].next = chunk
            head.tail = chunk
        count = min(CHUNK_BYTES - within, stop - at, most - head.length)
        target = chunks[head.tail]
        for i in range(np.uint64(count)):  # an index that cannot be negative lets the loop copy many bytes at a time
            target.bytes[np.uint64(within) + i] = block[np.uint64(at) + i]
        head.length += count
        at += count
    return at


QUIC_2, QUIC_DRAFTS, QUIC_FACEBOOK = 0x6B3343CF, 0xFF0000, 0xFACEB0


@part
def _most_bytes(head: Record, way: Int, protocol: Int) -> Int:
    """Return how many bytes a side keeps: a TLS hello's, with its record header, or a QUIC long header's datagram."""
    raw = head.bytes
    if protocol != TCP:
        version: Int = np.int64(raw[1]) << 24 | np.int64(raw[2]) << 16 | np.int64(raw[3]) << 8 | np.int64(raw[4])
        is_quic = (
            way == 0
            and raw[0] & 0xC0 == 0xC0
            and (version in (1, QUIC_2) or version >> 8 in (QUIC_DRAFTS, QUIC_FACEBOOK))
        )
        return np.int64(HELLO_BYTES if is_quic else SIDE_BYTES[way])
    if head.length < 9 or raw[0] != 22 or raw[1] != 3 or raw[5] > 2:
        return np.int64(SIDE_BYTES[way])
    size: Int = np.int64(raw[6]) << 16 | np.int64(raw[7]) << 8 | np.int64(raw[8])
    return min(9 + size, np.int64(HELLO_BYTES))


@part
def _keep_payload(table: Table, row: Int, packet: Record, way: Int, block: np.ndarray) -> None:
    """Add the packet's payload to its side's snippet, if it is the next part of it; before anything else is added."""
    flow, entry, snippets = table.flows[row], table.live[row], table.snippets
    seq = np.uint32(np.int64(packet.seq) + (np.int64(packet.flags) >> 1 & 1))  # behind the SYN
    if flow.data_packets[way] == 0:
        if packet.protocol == TCP and flow.flags[way, 1] and seq != flow.next_seq[way]:
            return  # not the beginning of what this side says: its SYN was seen
        first = _take_chunk(snippets)
        if first == NEVER:
            return
        entry.snippets[way] = first
    elif not entry.wanted >> way & 1 or snippets.chunks[entry.snippets[way]].next_seq != seq:
        return
    first = np.int64(entry.snippets[way])
    head = snippets.chunks[first]
    at: Int = np.int64(packet.payload_start)
    stop: Int = at + packet.payload_captured
    at = _append(snippets, first, SIDE_BYTES[way], block, at, stop)
    most = _most_bytes(head, way, packet.protocol)
    if head.length >= SIDE_BYTES[way]:
        at = _append(snippets, first, most, block, at, stop)
    head.next_seq = np.uint32(np.int64(seq) + packet.payload)
    is_cut = at < stop or packet.payload_captured < packet.payload
    if packet.protocol == TCP and head.length < most and not is_cut:
        entry.wanted |= 1 << way
    else:
        entry.wanted &= ~(1 << way)


@part
def _add_packet(table: Table, limits: Limits, row: Int, packet: Record, way: Int, time_ns: Int) -> None:
    """Add a packet to its flow's row."""
    flow, entry = table.flows[row], table.live[row]
    gap = _add_times(flow, way, time_ns, limits.activity_gap_ns)
    _add_volume(flow, way, packet, time_ns)
    _add_first(flow, way, packet, gap)
    if packet.protocol == TCP and packet.fragment != LATER_FRAGMENT:
        flags = np.int64(packet.flags)
        for bit in range(8):
            flow.flags[way, bit] += flags >> bit & 1
        _add_window(flow, way, packet)
        _add_handshake(flow, way, flags, time_ns)
        _add_flag_letter(flow, way, packet)
        _add_counted_letters(flow, entry, way, packet)
        _follow_state(flow, way, packet)
        _add_sequence(flow, entry, way, packet)
        if flags & FIN:
            entry.fins |= 1 << way


@part
def _mark_seen(table: Table, row: Int, flags: Int) -> None:
    """Bring the flow's place in the lists up to date after a packet."""
    entry, clock_ns = table.live[row], table.state[0].clock_ns
    entry.seen_ns = clock_ns
    if entry.closed:
        return
    if flags & RST or entry.fins == 3:
        _unlink(table, OPEN_LIST, row)
        entry.closed = 1
        _link(table, CLOSED_LIST, row)
    elif clock_ns - entry.linked_ns >= RELINK_NS:
        _unlink(table, OPEN_LIST, row)
        _link(table, OPEN_LIST, row)


@part
def _reason_before(table: Table, limits: Limits, row: Int, packet: Record, time_ns: Int) -> Int:
    """Return why a flow has ended before this packet of its key, 0 if the packet is its own."""
    reason = _reason_now(table, limits, row)
    if reason:
        return reason
    if table.live[row].closed:
        return EndReason.TCP_END.value if packet.flags & (SYN | ACK | RST | FIN) == SYN else 0
    flow = table.flows[row]
    is_long = time_ns - flow.first_ns > limits.active_ns or flow.packets[0] + flow.packets[1] == MOST_PACKETS
    return EndReason.ACTIVE.value if is_long else 0


@part
def _meter_packet(table: Table, limits: Limits, packet: Record, block: np.ndarray, tag: np.uint32) -> bool:
    """Add one packet to its flow; False, and nothing done, when there must be more slots first."""
    state = table.state[0]
    time_ns = max(packet.time_ns, state.clock_ns - LATENESS_NS)
    row = _find(table, packet, tag)
    if row != NEVER:
        reason = _reason_before(table, limits, row, packet, time_ns)
        if reason:
            _finish(table, row, reason)
            row = NEVER
    if row == NEVER:
        if state.live == len(table.live):
            oldest = np.int64(state.head[OPEN_LIST] if state.head[OPEN_LIST] != NEVER else state.head[CLOSED_LIST])
            reason = _reason_now(table, limits, oldest)
            _finish(table, oldest, reason if reason else EndReason.FORCED.value)
        elif 2 * state.live >= len(table.slots):
            return False
        row = _open_flow(table, packet, tag, time_ns)
    way = 0 if _is_forward(table, row, packet) else 1
    if packet.payload_captured and not packet.flags & RST:
        _keep_payload(table, row, packet, way, block)
    _add_packet(table, limits, row, packet, way, time_ns)
    _mark_seen(table, row, packet.flags)
    state.out_of_order += packet.time_ns < state.clock_ns
    return True


@part
def _hold(table: Table, packet: Record, block: np.ndarray) -> None:
    """Keep a packet and its payload, which may outlive its block, until the next one has come."""
    table.held[0] = packet
    held, start = table.held[0], np.int64(packet.payload_start)
    held.payload_start, held.payload_captured = 0, min(np.int64(packet.payload_captured), HELLO_BYTES)
    for i in range(held.payload_captured):
        table.snippets.held[i] = block[start + i]
    table.state[0].holding = 1


@part
def _doubt(table: Table, following: Record) -> None:
    """Give the held packet the clock's time if the next one does not bear it out."""
    state, packet = table.state[0], table.held[0]
    if packet.time_ns - following.time_ns > LEAP_NS:
        packet.time_ns = following.time_ns if state.clock_ns == NEVER else state.clock_ns
        state.astray += 1


@part
def _look_ahead(table: Table, packets: np.ndarray, start: Int) -> Int:
    """Hash the next packets and ask for the memory that they will change; returns the index after the last of them."""
    slots, tags, shift = table.slots, table.tags, np.uint64(32)
    mask = np.uint64(len(slots) - 1)
    count = min(len(tags), len(packets) - start)
    for i in range(count):
        tags[i] = _tag(packets[start + i], table.hash_keys)
        prefetch(slots, np.int64(np.uint64(tags[i]) & mask), 0)
    for i in range(count):
        at = np.uint64(tags[i]) & mask
        while slots[at] and slots[at] >> shift != np.uint64(tags[i]):
            at = at + np.uint64(1) & mask
        _expect(table, np.int64(slots[at] & np.uint64(0xFFFFFFFF)) - 1)
    return start + count


@kernel
def meter_packets(table: Table, limits: Limits, packets: np.ndarray, start: Int, block: np.ndarray) -> Int:
    """Meter PACKET rows of a block from start on; one that leaps ahead of the clock is held until the next one comes.

    Returns:
        Index of the first packet not metered: the number of packets, or less when the export buffer is full or there
        must be more slots; call again with it once that is seen to.
    """
    state, i = table.state[0], start
    first = known = start
    while i < len(packets):
        if i == known:
            first, known = i, _look_ahead(table, packets, i)
        packet, source, tag = packets[i], block, table.tags[i - first]
        if state.holding:
            _doubt(table, packet)
            packet, source = table.held[0], table.snippets.held
            tag = _tag(packet, table.hash_keys)
        elif packet.time_ns - state.clock_ns > LEAP_NS:
            _hold(table, packet, block)
            i += 1
            continue
        state.clock_ns = max(state.clock_ns, packet.time_ns)
        if not _sweep(table, limits) or not _meter_packet(table, limits, packet, source, tag):
            return i
        i += 1 - state.holding  # a held packet comes before the one at i
        state.holding = 0
    return i


@kernel
def end_capture(table: Table, limits: Limits) -> bool:
    """Hand out the flows that are left; False when the export buffer was full before all were out."""
    state = table.state[0]
    while state.live:
        if state.exported == len(table.export):
            return False
        row = np.int64(state.head[CLOSED_LIST])
        if row != NEVER:
            _finish(table, row, EndReason.TCP_END.value)
        else:
            row = np.int64(state.head[OPEN_LIST])
            reason = _reason_now(table, limits, row)
            _finish(table, row, reason if reason else EndReason.CAPTURE_END.value)
    return True


def with_more_slots(table: Table) -> Table:
    """Return the table with room for twice as many live flows in its slots."""
    slots = new_slots(len(table.slots))
    _refill_slots(table.slots, slots)
    return table._replace(slots=slots)

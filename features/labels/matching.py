"""Which rule matches which flow: rules are found by address, port and time, never flow by flow times rule by rule.

Each way a rule can match (a network, port range and side for each end) is a condition. Conditions that ask for
the same kind of thing (prefix lengths, exact ports, protocol, key) form a group, and lie in it by a hash of what they
ask for, by time within equal hashes. A batch of flows looks up its hashes in each group; what is found is then compared
in full.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.addresses import Words, address_words, mixed, network_words
from features.errors import LabelError
from features.labels.rules import FOREVER, Network, Ports, Rule

NO_TIME = {"start": FOREVER[1], "end": FOREVER[0]}  # overlaps no rule that has a time
ANY_PORT: Ports = (-1, 65_535)
NO_PROTOCOL = NO_KEY = -1
MOST_WAYS = 100_000
AT_ONCE = 1 << 21
ENDS = ("src", "dst")

Ints = npt.NDArray[np.int64]
Shape = tuple[int, int, bool, bool, bool, str]
"""What a condition asks for: prefix bits of both ends, whether protocol and one port of each end, the key's column."""


class Matches(NamedTuple):
    """Pairs of flow and rule, sorted by both, each once: those that match, and those that are near in time only."""

    flows: npt.NDArray[np.intp]
    rules: npt.NDArray[np.intp]
    near_flows: npt.NDArray[np.intp]
    near_rules: npt.NDArray[np.intp]


class RuleIndex:
    """Rules, ready for many flows."""

    def __init__(self, rules: Sequence[Rule], near_s: float = 0.0) -> None:
        near_ns = round(near_s * 1_000_000_000)
        self._rules = len(rules)
        columns = {rule.key[0] for rule in rules if rule.key}
        self._keys = {
            column: tuple(dict.fromkeys(rule.key[1] for rule in rules if rule.key and rule.key[0] == column))
            for column in sorted(columns)
        }
        codes = {column: {value: at for at, value in enumerate(values)} for column, values in self._keys.items()}
        shaped: dict[Shape, list[_Way]] = defaultdict(list)
        for number, rule in enumerate(rules):
            code = codes[rule.key[0]][rule.key[1]] if rule.key else NO_KEY
            for way in _ways(number, rule, code):
                shaped[way.shape(rule)].append(way)
        self._groups = [_Group(shape, ways, rules, near_ns) for shape, ways in shaped.items()]

    def match(self, batch: pa.RecordBatch) -> Matches:
        """Return the pairs of flows of a batch and rules."""
        flows = _Flows(batch, self._keys)
        right, near = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for group in self._groups:
            for rows, rules, exact in group.match(flows):
                pairs = rows * self._rules + rules
                right.append(pairs[exact])
                near.append(pairs[~exact])
        matching = np.unique(np.concatenate(right))
        beside = np.setdiff1d(np.concatenate(near), matching)
        count = max(self._rules, 1)
        return Matches(matching // count, matching % count, beside // count, beside % count)


class _Way(NamedTuple):
    """One way in which a rule can match; an end's network is None where any address will do."""

    rule: int
    protocol: int
    networks: tuple[Network | None, Network | None]
    ports: tuple[Ports, Ports]
    key: int

    def shape(self, rule: Rule) -> Shape:
        bits = tuple(_prefix(network) for network in self.networks)
        one_port = tuple(low == high for low, high in self.ports)
        return (*bits, self.protocol != NO_PROTOCOL, *one_port, rule.key[0] if rule.key else "")  # type: ignore[return-value]


def _prefix(network: Network | None) -> int:
    """Return how many bits of a 128-bit address count, -1 where there need be none."""
    if network is None:
        return -1
    return network.prefixlen + (96 if network.version == 4 else 0)


def _ways(number: int, rule: Rule, key: int) -> Iterator[_Way]:
    sides = [
        list(itertools.product(networks or (None,), ports or (ANY_PORT,)))
        for networks, ports in ((rule.src_ip, rule.src_port), (rule.dst_ip, rule.dst_port))
    ]
    if len(sides[0]) * len(sides[1]) > MOST_WAYS:
        raise LabelError(
            "A rule's lists multiply beyond measure",
            f"rule {rule.name}, line {rule.line}",
            f"at most {MOST_WAYS:,} pairs of source and destination",
            f"{len(sides[0])} times {len(sides[1])}",
            "use CIDR blocks and port ranges, or several rules",
        )
    protocol = NO_PROTOCOL if rule.protocol is None else rule.protocol
    for one, other in itertools.product(*sides):
        yield _Way(number, protocol, (one[0], other[0]), (one[1], other[1]), key)
        if rule.both_ways and one != other:
            yield _Way(number, protocol, (other[0], one[0]), (other[1], one[1]), key)


class _Group:
    """Conditions of one shape, by hash, then by the time from which flows are near."""

    def __init__(self, shape: Shape, ways: Sequence[_Way], rules: Sequence[Rule], near_ns: int) -> None:
        self._shape = shape
        rule = np.array([way.rule for way in ways])
        start = np.array([rules[way.rule].start_ns for way in ways])
        end = np.array([rules[way.rule].end_ns for way in ways])
        near_start = np.where(start == FOREVER[0], start, start - near_ns)
        near_end = np.where(end >= FOREVER[1] - near_ns, FOREVER[1], end + near_ns)
        words = [_network_matrix([way.networks[side] for way in ways]) for side in range(2)]
        asked = {
            "protocol": np.array([way.protocol for way in ways]),
            "src_port": np.array([way.ports[0][0] for way in ways]),
            "dst_port": np.array([way.ports[1][0] for way in ways]),
            "key": np.array([way.key for way in ways]),
        }
        hashes = self._hash(words[0], words[1], asked)
        order = np.lexsort((near_start, hashes))
        self._rule, self._start, self._end = rule[order], start[order], end[order]
        self._near_start, self._near_end = near_start[order], near_end[order]
        self._words = [matrix[order] for matrix in words]
        self._asked = {name: values[order] for name, values in asked.items()}
        self._highest = [np.array([way.ports[side][1] for way in ways])[order] for side in range(2)]
        self._hashes, first = np.unique(hashes[order], return_index=True)
        self._first = np.append(first, len(order))
        self._last_end = _running_maximum(self._near_end, self._first)
        self._masks = [_mask(bits) for bits in shape[:2]]

    def match(self, flows: "_Flows") -> Iterator[tuple[Ints, Ints, npt.NDArray[np.bool_]]]:
        """Yield row, rule and whether the times overlap, of what matches but for at most the nearness in time."""
        words = [flows.words[end] & mask for end, mask in zip(ENDS, self._masks, strict=True)]
        told = {**flows.told, "key": flows.keys.get(self._shape[5], flows.no_key)}
        hashes = self._hash(words[0], words[1], told)
        place = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        able = self._hashes[place] == hashes
        for end, bits in zip(ENDS, self._shape[:2], strict=True):
            if bits >= 0:
                able &= flows.has_address[end]
        rows = np.flatnonzero(able)
        low, high = self._first[place[rows]], self._first[place[rows] + 1]
        high = _bisect(self._near_start, flows.end[rows], (low, high), above=True)
        low = _bisect(self._last_end, flows.start[rows], (low, high), above=False)
        for part in _parts(high - low):
            row, way = _expanded(rows[part], low[part], high[part])
            fits = (self._near_end[way] >= flows.start[row]) & (self._near_start[way] <= flows.end[row])
            fits &= self._agree(way, row, words, told)
            row, way = row[fits], way[fits]
            exact = (self._end[way] >= flows.start[row]) & (self._start[way] <= flows.end[row])
            yield row, self._rule[way], exact

    def _hash(self, src: Words, dst: Words, values: dict[str, Ints]) -> Words:
        """Return a hash of what the shape asks for, shape (n,)."""
        asks = {
            "protocol": self._shape[2],
            "src_port": self._shape[3],
            "dst_port": self._shape[4],
            "key": bool(self._shape[5]),
        }
        total = np.zeros(len(values["protocol"]), np.uint64)
        for bits, words in zip(self._shape[:2], (src, dst), strict=True):
            if bits > 0:
                total = mixed(mixed(total ^ words[:, 0]) ^ words[:, 1])
        for name, asked in asks.items():
            if asked:
                total = mixed(total ^ values[name].astype(np.uint64))
        return total

    def _agree(self, way: Ints, row: Ints, words: list[Words], told: dict[str, Ints]) -> npt.NDArray[np.bool_]:
        agree = np.ones(len(way), bool)
        for side, end in enumerate(ENDS):
            agree &= (self._words[side][way] == words[side][row]).all(axis=1)
            port = told[f"{end}_port"][row]
            agree &= (port >= self._asked[f"{end}_port"][way]) & (port <= self._highest[side][way])
        if self._shape[2]:
            agree &= self._asked["protocol"][way] == told["protocol"][row]
        return agree & ((self._asked["key"][way] == told["key"][row]) | (not self._shape[5]))


class _Flows:
    """The identity columns of a batch as numbers; a missing one is what no rule asks for."""

    def __init__(self, batch: pa.RecordBatch, keys: dict[str, tuple[str, ...]]) -> None:
        self.start, self.end = (_filled(batch.column(name).cast(pa.int64()), NO_TIME[name]) for name in NO_TIME)
        self.told = {name: _filled(batch.column(name), -1) for name in ("protocol", "src_port", "dst_port")}
        self.words: dict[str, Words] = {}
        self.has_address: dict[str, npt.NDArray[np.bool_]] = {}
        for end in ENDS:
            self.words[end], self.has_address[end] = _coded(batch.column(f"{end}_ip"))
        self.no_key = np.full(batch.num_rows, NO_KEY)
        self.keys = {
            column: _filled(pc.index_in(batch.column(column), pa.array(values, pa.string())), NO_KEY)
            for column, values in keys.items()
            if column in batch.schema.names
        }


def _filled(column: pa.Array, value: int) -> Ints:
    return pc.fill_null(column.cast(pa.int64()), value).to_numpy(zero_copy_only=False)


def _coded(addresses: pa.Array) -> tuple[Words, npt.NDArray[np.bool_]]:
    encoded = addresses.dictionary_encode()
    codes = _filled(encoded.indices, -1)
    words = np.vstack([address_words(encoded.dictionary.to_pylist()), np.zeros((1, 2), np.uint64)])
    return words[codes], codes >= 0


def _network_matrix(networks: Sequence[Network | None]) -> Words:
    return np.array([network_words(one)[0] if one else (0, 0) for one in networks], np.uint64).reshape(-1, 2)


def _mask(bits: int) -> Words:
    """Return the mask of the highest bits of an address, shape (2,)."""
    ones = ((1 << bits) - 1) << (128 - bits) if bits > 0 else 0
    return np.array([ones >> 64, ones & (2**64 - 1)], np.uint64)


def _running_maximum(values: Ints, first: npt.NDArray[np.intp]) -> Ints:
    """Return the highest value so far within each part that begins at `first`, so that each part ascends."""
    highest = values.copy()
    for low, high in itertools.pairwise(first.tolist()):
        if high - low > 1:
            np.maximum.accumulate(values[low:high], out=highest[low:high])
    return highest


def _bisect(values: Ints, targets: Ints, span: tuple[Ints, Ints], above: bool) -> Ints:
    """Return for each target the first place in its ascending span that is >= it, or > it with `above`."""
    low, high = (side.copy() for side in span)
    while (unsure := low < high).any():
        middle = (low + high) // 2
        seen = values[np.minimum(middle, len(values) - 1)]
        before = unsure & ((seen <= targets) if above else (seen < targets))
        low = np.where(before, middle + 1, low)
        high = np.where(unsure & ~before, middle, high)
    return low


def _parts(sizes: Ints) -> Iterator[slice]:
    """Yield slices of at most AT_ONCE in sum, or of one."""
    begin = 0
    sums = np.cumsum(sizes)
    while begin < len(sizes):
        before = sums[begin - 1] if begin else 0
        end = max(int(np.searchsorted(sums, before + AT_ONCE, side="right")), begin + 1)
        yield slice(begin, end)
        begin = end


def _expanded(rows: Ints, low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """Return each row once for every place of its span, and the places."""
    sizes = high - low
    starts = np.cumsum(sizes) - sizes
    return np.repeat(rows, sizes), np.arange(int(sizes.sum())) + np.repeat(low - starts, sizes)

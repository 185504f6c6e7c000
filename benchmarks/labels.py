"""How fast flows get the tags of rules: python -m benchmarks.labels [--flows N] [--rules N ...].

Flows are made at random over ADDRESSES hosts and a day. Each rule names a host, every other one a port, and ten
minutes, as lines of truth tables do. CPU time is of matching and labelling alone, after the first batch, which
compiles.
"""

import argparse
import ipaddress
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from features.addresses import address_text
from features.dotted import PREFIX
from features.labels.labeller import RuleLabeller
from features.labels.rules import Rule
from features.labels.vocabulary import Vocabulary, read_vocabulary
from features.schema import arrow_schema

ADDRESSES = 20_000
DAY_S, RULE_S = 86_400, 600
NS = 1_000_000_000
BATCH = 65_536
MADE = ("start", "end", "src_ip", "src_port", "dst_ip", "dst_port", "protocol")


class Measured(NamedTuple):
    """What one number of rules costs: seconds to make the index, flows a CPU-second, and flows that a rule matched."""

    rules: int
    index_s: float
    flows_per_cpu_s: float
    attack: int


def main() -> int:
    """Measure each number of rules and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=16 * BATCH)
    parser.add_argument("--rules", type=int, nargs="+", default=[150, 5_000, 50_000])
    options = parser.parse_args()
    batches = list(random_flows(options.flows))
    sys.stdout.write(page([measure(batches, count) for count in options.rules]))
    return 0


def random_flows(count: int, seed: int = 1) -> Iterator[pa.RecordBatch]:
    """Yield `count` flows of whose columns only those that rules ask for are set, and a batch before that warms up."""
    chance = np.random.default_rng(seed)
    for size in [1, *(min(BATCH, count - first) for first in range(0, count, BATCH))]:
        start = chance.integers(0, DAY_S * NS, size)
        made: dict[str, pa.Array] = {
            "start": pa.array(start),
            "end": pa.array(start + chance.integers(0, 60 * NS, size)),
            "protocol": pa.array(chance.choice([6, 17], size)),
        }
        for side in ("src", "dst"):
            made[f"{side}_ip"] = address_text(hosts(chance.integers(0, ADDRESSES, size)))
            made[f"{side}_port"] = pa.array(chance.integers(1, 1024, size))
        schema = arrow_schema()
        columns = [made[f.name].cast(f.type) if f.name in MADE else pa.nulls(size, f.type) for f in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def hosts(numbers: np.ndarray) -> np.ndarray:
    """Return the addresses of hosts by number, 10.0.0.0 and on, shape (n, 16)."""
    last = (0x0A000000 + numbers).astype(">u4").view(np.uint8).reshape(-1, 4)
    return np.concatenate([np.broadcast_to(PREFIX, (len(numbers), 12)), last], axis=1)


def random_rules(count: int, vocabulary: Vocabulary, seed: int = 2) -> list[Rule]:
    """Return rules of one host, one port and ten minutes each."""
    chance = np.random.default_rng(seed)
    tags = vocabulary.names
    rules = []
    for line in range(1, count + 1):
        host = ipaddress.ip_network(0x0A000000 + int(chance.integers(0, ADDRESSES)))
        port, start = int(chance.integers(1, 1024)), int(chance.integers(0, DAY_S - RULE_S)) * NS
        ends = {"src_ip": (host,)} if line % 2 else {"src_ip": (host,), "dst_port": ((port, port),)}
        rules.append(Rule(f"rule {line}", (tags[line % len(tags)],), line, start, start + RULE_S * NS, **ends))
    return rules


def measure(batches: Sequence[pa.RecordBatch], count: int) -> Measured:
    """Label the flows by so many rules."""
    vocabulary = read_vocabulary()
    rules = random_rules(count, vocabulary)
    begun = time.process_time()
    labeller = RuleLabeller(rules, vocabulary, 0.0)
    labelled = labeller.label(batches)
    next(labelled)
    made = time.process_time()
    flows = sum(batch.num_rows for batch in labelled)
    taken = time.process_time() - made
    return Measured(count, made - begun, flows / taken, labeller.account.flows - labeller.account.benign)


def page(measured: Sequence[Measured]) -> str:
    """Return the measurements as a table in Markdown."""
    lines = ["| rules | index, s | flows a CPU-second | flows with a tag |", "|---|---|---|---|"]
    lines += [
        f"| {one.rules:,} | {one.index_s:.1f} | {one.flows_per_cpu_s:,.0f} | {one.attack:,} |" for one in measured
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

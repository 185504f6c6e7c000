"""How many packets one counted packet stands for: what a record states, its sampler by options, or its message.

Source: RFC 3954 and Cisco's field types 34, 48 and 50 (version 9); RFC 5477 (IPFIX: selectors and their intervals).
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from features.records.adapter import Floats

ALL = -1
"""Stands for the sampler of an exporter that names none."""
NAMERS = ("samplerId", "selectorId")
UNKNOWN_SAMPLER = "export.sampler_unknown"

Numbers = Mapping[str, Floats]


def stated(numbers: Numbers, records: int) -> Floats:
    """Return what records say themselves, shape (records,), NaN where they say nothing that can be."""
    nothing = np.full(records, np.nan)
    get = numbers.get
    taken, skipped = get("samplingPacketInterval", nothing), get("samplingPacketSpace", nothing)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (
            get("samplingInterval", nothing),
            get("samplerRandomInterval", nothing),
            (taken + skipped) / taken,
            get("samplingPopulation", nothing) / get("samplingSize", nothing),
        )
    found = nothing
    for share in shares:
        found = np.where(np.isnan(found) & np.isfinite(share) & (share >= 1), share, found)
    return found


class Samplers:
    """The samplers that options records of exporters told of.

    Attributes:
        notes: Where records are counted whose sampler was not told of before them.
    """

    def __init__(self, notes: Counter[str]) -> None:
        self._known: dict[tuple[object, ...], dict[int, float]] = {}
        self.notes = notes

    def learn(self, exporter: tuple[object, ...], numbers: Numbers) -> None:
        """Keep the samplers of some options records; an exporter is its address, port, version and domain."""
        records = len(next(iter(numbers.values()), ()))
        shares = stated(numbers, records)
        for name, share in zip(_named(numbers, records).tolist(), shares.tolist(), strict=True):
            if np.isfinite(share):
                self._known.setdefault(exporter, {})[name] = share

    def of(self, exporter: tuple[object, ...], numbers: Numbers, records: int) -> Floats:
        """Return the sampling of records by their samplers, shape (records,), NaN where none is known.

        A sampler 0 that options do not tell of is none: the packet was not sampled.
        """
        known = self._known.get(exporter, {})
        named = _named(numbers, records)
        names, codes = np.unique(named, return_inverse=True)
        shares = np.array([known.get(int(name), known.get(ALL, np.nan)) for name in names], np.float64)
        missing = np.isnan(shares) & (names > 0)
        if missing.any():
            self.notes[UNKNOWN_SAMPLER] += int(missing[codes].sum())
        return shares[codes]


def _named(numbers: Numbers, records: int) -> npt.NDArray[np.int64]:
    """Return the number of each record's sampler, ALL where it names none."""
    found = np.full(records, np.nan)
    for name in NAMERS:
        found = np.where(np.isnan(found), numbers.get(name, np.nan), found)
    usable = (found >= 0) & (found < 2**63)
    return np.where(usable, np.where(usable, found, 0), ALL).astype(np.int64)

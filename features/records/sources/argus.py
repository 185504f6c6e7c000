"""Argus as `ra` prints it, and the CTU sets' .binetflow: comma or tab separated.

Source: ra(1) and the CTU-13 description. Byte counts are of frames: 14 bytes of Ethernet a packet are taken off where the
packets of that side are known. TCP states such as S_RA are the flags of either side.
"""

import numpy as np
import pyarrow as pa

from features.records.adapter import Adapter, Floats, Given, Numbers, Records
from features.records.derive import with_totals
from features.records.sources.letters import has, only_tcp

ETHERNET = 14
FLAGS = r"^[FSRPAUEC]*_[FSRPAUEC]*$"


def _side(column: pa.Array, side: int, letters: str) -> Floats:
    """Return 1 where the flags of a side hold all letters, NaN where the state is no pair of flags."""
    known = has(column, _is_pair)
    found = has(column, lambda text: set(letters) <= set((text.split("_") + ["", ""])[side]))
    return np.where(known == 1, found, np.nan)


def _is_pair(state: str) -> bool:
    return state.count("_") == 1 and set(state) <= set("FSRPAUEC_")


def _more(records: Records) -> Numbers:
    numbers = with_totals(records.numbers)
    made = {
        f"{side}_bytes": np.maximum(numbers[f"{side}_bytes"] - ETHERNET * numbers[f"{side}_packets"], 0)
        for side in ("fwd", "bwd")
        if {f"{side}_bytes", f"{side}_packets"} <= numbers.keys()
    }
    kind, code = (numbers[name] for name in ("src_port", "dst_port"))
    icmp = np.isin(numbers["protocol"], (1, 58))
    made |= {"icmp_type": np.where(icmp, kind % 256, np.nan), "icmp_code": np.full(len(code), np.nan)}
    state = records.raw.get("State")
    if state is None:
        return made
    answered = _side(state, 1, "SA")
    facts = {
        "syn_seen": _side(state, 0, "S"),
        "syn_ack_seen": answered,
        "handshake_seen": np.minimum(answered, _side(state, 0, "A")),
        "fwd_reset_seen": _side(state, 0, "R"),
        "bwd_reset_seen": _side(state, 1, "R"),
    }
    return made | {name: only_tcp(values, numbers["protocol"]) for name, values in facts.items()}

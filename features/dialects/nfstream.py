"""NFStream with statistical analysis: its columns without those of nDPI, in milliseconds.

Names and order are those of NFStream's flow.py. Sizes are of frames, as in its accounting mode 0: 14 bytes of Ethernet
are added to each IP datagram. Times between packets keep their fractions, which NFStream cuts to milliseconds. What is
unknown, such as MAC addresses, is empty.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.dialects.dialect import (
    NS_PER_MS,
    Dialect,
    Field,
    Floats,
    Rows,
    always,
    of_sample,
    real,
    same,
    whole,
    zero_without,
)

ETHERNET = 14
MS_PER_S = 1e3
WAYS = {"bidirectional": "", "src2dst": "fwd_", "dst2src": "bwd_"}
FLAGS = ("syn", "cwr", "ece", "urg", "ack", "psh", "rst", "fin")


def _count(rows: Rows, prefix: str, name: str) -> Floats:
    return rows[f"{prefix}{name}"] if prefix else rows.total(name)


def _bytes(rows: Rows, prefix: str) -> pa.Array:
    return whole(_count(rows, prefix, "bytes") + ETHERNET * _count(rows, prefix, "packets"))


def _duration_ms(rows: Rows, prefix: str) -> pa.Array:
    """Return how long a direction lasted: the sum of its gaps."""
    if not prefix:
        return real(rows.duration_ns().cast(pa.float64()).to_numpy(zero_copy_only=False) / NS_PER_MS)
    packets = rows[f"{prefix}packets"]
    return real(zero_without(rows[f"{prefix}gap_mean_s"] * (packets - 1) * MS_PER_S, packets - 1))


def _size(rows: Rows, prefix: str, statistic: str) -> pa.Array:
    packets = _count(rows, prefix, "packets")
    added = 0 if statistic == "std" else ETHERNET
    if prefix:
        values = rows[f"{prefix}length_{statistic}"]
    elif statistic in ("min", "max"):
        smaller = np.fmin if statistic == "min" else np.fmax
        values = smaller(rows[f"fwd_length_{statistic}"], rows[f"bwd_length_{statistic}"])
    else:
        values = rows[f"length_{statistic}"]
    values = of_sample(values, packets) if statistic == "std" else values
    return real(zero_without(values + added, packets))


def _gap(rows: Rows, prefix: str, statistic: str) -> pa.Array:
    gaps = _count(rows, prefix, "packets") - 1
    values = rows[f"{prefix}gap_{statistic}_s"] * MS_PER_S
    return real(zero_without(of_sample(values, gaps) if statistic == "std" else values, gaps))


def _flag(rows: Rows, prefix: str, flag: str) -> pa.Array:
    counts = _count(rows, prefix, f"{flag}_packets")
    return whole(np.where(rows["protocol"] == 6, counts, np.where(np.isnan(rows["protocol"]), np.nan, 0.0)))


def _port(rows: Rows, name: str) -> pa.Array:
    ported = np.isin(rows["protocol"], (6, 17, 132)) | np.isnan(rows["protocol"])
    return whole(np.where(ported, rows[name], 0.0))


def _ip_version(rows: Rows) -> pa.Array:
    return pc.if_else(pc.match_substring(rows.array("src_ip"), ":"), 6, 4)


def _expiration(rows: Rows) -> pa.Array:
    """Return 1 for the active timeout, 0 for every other end, null where it is not told."""
    return pc.equal(rows.array("end_reason"), "active").cast(pa.int8())


def _millisecond(rows: Rows, name: str) -> pa.Array:
    return pc.divide(rows.moment(name), NS_PER_MS)


def _ends() -> tuple[Field, ...]:
    return (
        Field("id", same("flow_id")),
        Field("expiration_id", _expiration),
        Field("src_ip", same("src_ip")),
        Field("src_mac", always(None)),
        Field("src_oui", always(None)),
        Field("src_port", lambda rows: _port(rows, "src_port")),
        Field("dst_ip", same("dst_ip")),
        Field("dst_mac", always(None)),
        Field("dst_oui", always(None)),
        Field("dst_port", lambda rows: _port(rows, "dst_port")),
        Field("protocol", same("protocol")),
        Field("ip_version", _ip_version),
        Field("vlan_id", always(None)),
        Field("tunnel_id", always(None)),
    )


def _volumes() -> tuple[Field, ...]:
    fields = []
    for way, prefix in WAYS.items():
        seen = ("start", "end") if not prefix else ("", "")
        for word, name in zip(("first_seen_ms", "last_seen_ms"), seen, strict=True):
            made = (lambda rows, name=name: _millisecond(rows, name)) if name else always(None)
            fields.append(Field(f"{way}_{word}", made))
        fields += [
            Field(f"{way}_duration_ms", lambda rows, prefix=prefix: _duration_ms(rows, prefix)),  # type: ignore[misc]
            Field(f"{way}_packets", lambda rows, prefix=prefix: whole(_count(rows, prefix, "packets"))),  # type: ignore[misc]
            Field(f"{way}_bytes", lambda rows, prefix=prefix: _bytes(rows, prefix)),  # type: ignore[misc]
        ]
    return tuple(fields)


def _statistics() -> tuple[Field, ...]:
    words = {"min": "min", "mean": "mean", "stddev": "std", "max": "max"}
    return tuple(
        Field(f"{way}_{word}_{unit}", lambda rows, of=of, prefix=prefix, name=name: of(rows, prefix, name))  # type: ignore[misc]
        for unit, of in (("ps", _size), ("piat_ms", _gap))
        for way, prefix in WAYS.items()
        for word, name in words.items()
    )


def _flags() -> tuple[Field, ...]:
    return tuple(
        Field(f"{way}_{flag}_packets", lambda rows, prefix=prefix, flag=flag: _flag(rows, prefix, flag))  # type: ignore[misc]
        for way, prefix in WAYS.items()
        for flag in FLAGS
    )


NFSTREAM_DIALECT = Dialect(name="nfstream", fields=(*_ends(), *_volumes(), *_statistics(), *_flags()))
"""Its columns up to the flags."""

"""Zeek connection logs, written by hand in the columns of Zeek's documentation."""

ENDS = ("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto")
VOLUMES = ("duration", "orig_bytes", "resp_bytes", "conn_state", "history")
PACKETS = ("orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes")


def zeek_log(rows: int, first: int = 0) -> str:
    """Return a conn.log of connections a second apart, each of one answered request, counted from `first`."""
    lines = ["#separator \\x09", "#unset_field\t-", "#path\tconn", "\t".join(["#fields", *ENDS, *VOLUMES, *PACKETS])]
    for row in range(first, first + rows):
        ends = (f"{1_700_000_000 + row}.5", f"C{row}", "10.0.0.1", str(40_000 + row), "10.0.0.2", "80", "tcp")
        lines.append("\t".join([*ends, "0.25", "100", "900", "SF", "ShADadFf", "6", "420", "5", "1168"]))
    return "\n".join(lines) + "\n"

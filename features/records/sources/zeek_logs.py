"""Zeek's logs of what connections said (dns, ssl, http, ssh, quic): their columns, and what a row says of its flow.

Source: Zeek's documentation of base/protocols; the version words of base/protocols/ssl/consts.zeek and
base/protocols/quic/consts.zeek. Zeek undoes percent escapes before it logs a target, so a length counts what is left.
Of ssl.log the protocol that was chosen is no offer of the client's and is left out; a JA4 is there with Zeek's plugin.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from features.payload.dns import RESPONSE_CODES, TYPES, name_facts
from features.payload.facts import Facts
from features.payload.ssh import ssh_software
from features.payload.text import safe_text
from features.records.adapter import Adapter

Row = dict[str, Any]
"""Column to text, to a number for those of NUMBERS, or to None."""
NUMBERS = {"qtype": 0xFFFF, "rcode": len(RESPONSE_CODES) - 1, "status_code": 599}
"""Columns of whole numbers, and the largest that means something."""

TLS_VERSIONS = {"SSLv3": "SSL 3.0", "TLSv10": "TLS 1.0", "TLSv11": "TLS 1.1", "TLSv12": "TLS 1.2", "TLSv13": "TLS 1.3"}
QUIC_VERSIONS = {"1": "1", "quicv2": "2"}
_PORT = re.compile(r":\d{1,5}$")
_LABEL = re.compile(rb"\\x([0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class ZeekLog:
    """One of Zeek's logs beside conn.log.

    Attributes:
        name: What counts call it.
        needs: Columns that tell it from the others, beside `uid`.
        columns: The columns that are read; `needs` among them or not.
        facts: What a row says, values by name of the payload columns.
        features: The feature columns that it can give.
    """

    name: str
    needs: tuple[str, ...]
    columns: tuple[str, ...]
    facts: Callable[[Row], Facts]
    features: tuple[str, ...]

    def adapter(self) -> Adapter:
        """Return how its rows are read: as they are."""
        needs = tuple((name,) for name in ("uid", *self.needs))
        return Adapter(f"zeek_{self.name}", needs, (), raw=("uid", *self.columns), nulls=("-", "(empty)"))


def _dns(row: Row) -> Facts:
    facts: Facts = {}
    query, kind, code = (row.get(name) for name in ("query", "qtype", "rcode"))
    if query is not None:
        name = _LABEL.sub(lambda escape: bytes([int(escape[1], 16)]), query.encode())
        facts |= name_facts(tuple(label for label in name.split(b".") if label))
    if kind is not None:
        facts["dns_query_type"] = TYPES.get(kind, f"TYPE{kind}")
    if code is not None:
        facts["dns_response_code"], facts["dns_failed"] = RESPONSE_CODES[code], int(code != 0)
    return facts


def _ssl(row: Row) -> Facts:
    facts: Facts = {}
    version, name, ja4 = (row.get(column) for column in ("version", "server_name", "ja4"))
    if version in TLS_VERSIONS:
        facts["tls_version"] = TLS_VERSIONS[version]
    if name is not None:
        facts["tls_server_name"] = safe_text(name.encode()).lower()
    if name is not None or version in TLS_VERSIONS:
        facts["tls_names_server"] = int(name is not None)
    return facts | ({} if ja4 is None else {"tls_ja4": safe_text(ja4.encode())})


def _http(row: Row) -> Facts:
    facts: Facts = {}
    method, host, uri, status = (row.get(name) for name in ("method", "host", "uri", "status_code"))
    if method is not None:
        facts["http_method"] = safe_text(method.encode())
    if host is not None:
        facts["http_host"] = safe_text(_PORT.sub("", host).encode()).lower()
    if uri is not None:
        facts["http_uri_length"] = len(uri.encode())
    if status is not None:
        facts["http_status"], facts["http_failed"] = status, int(status >= 400)
    return facts


def _ssh(row: Row) -> Facts:
    said = {name: row.get(name) for name in ("client", "server")}
    software = {f"ssh_{name}_software": ssh_software(f"{text}\n".encode()) for name, text in said.items() if text}
    return {name: text for name, text in software.items() if text is not None}


def _quic(row: Row) -> Facts:
    version = row.get("version") or ""
    if version.startswith("draft-"):
        return {"quic_version": safe_text(version.encode())}
    return {"quic_version": QUIC_VERSIONS[version]} if version in QUIC_VERSIONS else {}


_DNS_FEATURES = ("dns_query_length", "dns_query_entropy", "dns_label_count", "dns_longest_label", "dns_failed")
ZEEK_LOGS = (
    ZeekLog("dns", ("trans_id", "query"), ("query", "qtype", "rcode"), _dns, _DNS_FEATURES),
    ZeekLog("ssl", ("version", "cipher"), ("version", "server_name", "ja4"), _ssl, ("tls_names_server",)),
    ZeekLog(
        "http",
        ("trans_depth",),
        ("method", "host", "uri", "status_code"),
        _http,
        ("http_uri_length", "http_failed"),
    ),
    ZeekLog("ssh", ("auth_attempts",), ("client", "server"), _ssh, ()),
    ZeekLog("quic", ("client_initial_dcid", "version"), ("version",), _quic, ()),
)

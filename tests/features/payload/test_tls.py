"""TLS hellos: made by OpenSSL, by scapy and by hand; JA4 by the specification's own examples."""

import hashlib
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.payload.facts import Facts
from features.payload.flow_facts import TCP, flow_facts

CIPHERS = "002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9"
EXTENSIONS = "0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01"
ALGORITHMS = "0403,0804,0401,0503,0805,0501,0806,0601"


def tls_facts(stream: bytes) -> Facts:
    """Return what one side of a flow says."""
    return flow_facts(TCP, (50_000, 443), stream, b"")


def numbers(text: str) -> bytes:
    """Return the numbers of a list as JA4 prints it, in reverse order but for the algorithms'."""
    return bytes.fromhex("".join(text.split(",")))


def sized(raw: bytes, width: int = 2) -> bytes:
    """Return bytes behind their length."""
    return len(raw).to_bytes(width) + raw


def hello(ciphers: bytes, extensions: list[tuple[int, bytes]], version: int = 0x0303, kind: int = 1) -> bytes:
    """Return a hello in one record."""
    listed = b"".join(number.to_bytes(2) + sized(raw) for number, raw in extensions)
    chosen = sized(ciphers) + b"\1\0" if kind == 1 else ciphers + b"\0"
    body = version.to_bytes(2) + bytes(32) + sized(bytes(32), 1) + chosen + sized(listed)
    return b"\x16\3\1" + sized(bytes([kind]) + sized(body, 3))


def server_name(name: bytes) -> tuple[int, bytes]:
    """Return the server name extension."""
    return 0, sized(b"\0" + sized(name))


def alpn(*protocols: bytes) -> tuple[int, bytes]:
    """Return the ALPN extension."""
    return 16, sized(b"".join(sized(one, 1) for one in protocols))


def chrome() -> bytes:
    """Return the ClientHello of the JA4 specification's example, GREASE in every list, all in another order."""
    special = {0x002B: b"\6\x6a\x6a\3\4\3\3", 0x000D: sized(numbers(ALGORITHMS))}
    listed = [int(number, 16) for number in reversed(EXTENSIONS.split(","))]
    extensions = [(number, special.get(number, b"\0")) for number in listed]
    extensions = [
        (0x1A1A, b""),
        server_name(b"WWW.example.com"),
        *extensions,
        alpn(b"h2", b"http/1.1"),
        (0xAAAA, b"\0"),
    ]
    ciphers = b"".join(bytes.fromhex(number) for number in reversed(CIPHERS.split(",")))
    return hello(b"\x0a\x0a" + ciphers, extensions)


def test_specification() -> None:
    """The specification's example has the fingerprint printed there; name and protocols are read beside it."""
    assert tls_facts(chrome()) == {
        "tls_server_name": "www.example.com",
        "tls_alpn": "h2,http/1.1",
        "tls_ja4": "t13d1516h2_8daaf6152771_e5627efa2ab1",
        "tls_cipher_count": 15,
        "tls_extension_count": 16,
        "tls_names_server": 1,
    }


def test_openssl() -> None:
    """What OpenSSL sends names its server, its protocols and TLS 1.3."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(received, sent, server_hostname="Example.com").do_handshake()
    facts = tls_facts(sent.read())
    assert (facts["tls_server_name"], facts["tls_alpn"]) == ("example.com", "h2,http/1.1")
    assert str(facts["tls_ja4"]).startswith(f"t13d{facts['tls_cipher_count']:.0f}{facts['tls_extension_count']:.0f}h2_")


def test_cut_hello() -> None:
    """A ClientHello that is cut anywhere has no fingerprint and no counts, and its name only if that is all there."""
    whole = chrome()
    named = whole.index(b"WWW.example.com") + len(b"WWW.example.com")
    for size in range(len(whole)):
        facts = tls_facts(whole[:size])
        assert set(facts) <= {"tls_server_name", "tls_alpn"}
        assert facts.get("tls_server_name") == ("www.example.com" if size >= named else None)


def test_several_records() -> None:
    """A ClientHello cut into several records is the same one."""
    whole = chrome()
    first, rest = whole[5:100], whole[100:]
    assert tls_facts(b"\x16\3\1" + sized(first) + b"\x16\3\1" + sized(rest)) == tls_facts(whole)


@pytest.mark.parametrize(
    ("protocol", "shown"), [(b"h2", "h2"), (b"h", "hh"), (b"\xab", "ab"), (b"\x01h\xcd", "0d"), (b"", "00")]
)
def test_protocol_of_ja4(protocol: bytes, shown: str) -> None:
    """JA4 shows the ends of the first protocol, of its hexadecimal digits where one is not alphanumeric."""
    facts = tls_facts(hello(b"\x13\1", [alpn(protocol)]))
    assert str(facts["tls_ja4"]).split("_")[0] == f"t12i0101{shown}"


def naive_hash(*lists: list[int]) -> str:
    """Return JA4's hash of lists of numbers, the empty ones left out."""
    text = "_".join(",".join(f"{number:04x}" for number in numbers) for numbers in lists if numbers)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@given(
    st.lists(st.integers(0, 0xFFFF) | st.sampled_from([0x0A0A, 0xFAFA, 0x1301]), max_size=400),
    st.lists(st.integers(14, 0xFFFF) | st.sampled_from([0x2A2A, 0, 16, 500]), max_size=300),
    st.lists(st.integers(0, 0xFFFF), max_size=60),
)
@settings(deadline=None, max_examples=40)
def test_any_lists(ciphers: list[int], extensions: list[int], algorithms: list[int]) -> None:
    """Lists of whatever length and order, with GREASE and repeats among them, are hashed as a naive reading does."""
    grease = {0x0A0A + 0x1010 * step for step in range(16)}
    listed = [(13, sized(b"".join(one.to_bytes(2) for one in algorithms)))]
    listed += [(number, b"") for number in extensions if number != 43]
    facts = tls_facts(hello(b"".join(one.to_bytes(2) for one in ciphers), listed))
    plain = sorted(number for number in ciphers if number not in grease)
    kinds = sorted({number for number, _ in listed} - grease)
    hashed = [number for number in kinds if number not in (0, 16)]
    second = naive_hash(hashed, [number for number in algorithms if number not in grease])
    named = "d" if 0 in kinds else "i"
    head = f"t12{named}{min(len(plain), 99):02}{min(len(kinds), 99):02}00"
    assert facts["tls_ja4"] == f"{head}_{naive_hash(plain) if plain else 12 * '0'}_{second}"
    assert (facts["tls_cipher_count"], facts["tls_extension_count"]) == (len(plain), len(kinds))


def test_bare_hello() -> None:
    """Without extensions the second hash is zeros, without ciphers the first; old versions are named."""
    body = b"\3\1" + bytes(32) + b"\0" + sized(b"\0\x2f") + b"\1\0"
    facts = tls_facts(b"\x16\3\0" + sized(b"\1" + sized(body, 3)))
    assert facts["tls_ja4"] == f"t10i010000_{hashlib.sha256(b'002f').hexdigest()[:12]}_000000000000"
    assert facts["tls_names_server"] == 0
    assert str(tls_facts(hello(b"", [], version=0x0300))["tls_ja4"]) == "ts3i000000_000000000000_000000000000"


@pytest.mark.parametrize(
    ("reply", "version"),
    [
        (hello(b"\x13\1", [(51, bytes(36)), (43, b"\3\4")], kind=2), "TLS 1.3"),
        (hello(b"\xc0\x2f", [], kind=2), "TLS 1.2"),
        (hello(b"\0\x2f", [], version=0x0301, kind=2), "TLS 1.0"),
        (hello(b"\0\x2f", [(43, b"\x03\x05")], kind=2), None),
        (hello(b"\x13\1", [(43, b"\x7f\x1c")], kind=2), "TLS 1.3"),
    ],
)
def test_server_hello(reply: bytes, version: str | None) -> None:
    """The version is the extension's where there is one, 1.3 for its drafts too; what we do not know has no name."""
    assert tls_facts(reply).get("tls_version") == version


def test_cut_server_hello() -> None:
    """A ServerHello of 1.3 that is cut says 1.3 or nothing, never the 1.2 of its old field."""
    reply = hello(b"\x13\1", [(51, bytes(36)), (43, b"\3\4")], kind=2)
    assert {tls_facts(reply[:size]).get("tls_version") for size in range(len(reply))} == {None, "TLS 1.3"}


@given(st.data())
@settings(deadline=None)
def test_any_change(data: st.DataObject) -> None:
    """Any bytes in any places of a hello end in facts of printable ASCII."""
    raw = bytearray(chrome())
    places = st.integers(0, len(raw) - 1)
    for at, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        raw[at] = byte
    facts = tls_facts(bytes(raw))
    assert all(str(value).isascii() and str(value).isprintable() for value in facts.values())


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes(raw: bytes) -> None:
    """Any bytes behind a record header end in facts, mostly in none."""
    facts = tls_facts(b"\x16\3\1\1\0" + raw)
    assert all(str(value).isascii() and str(value).isprintable() for value in facts.values())

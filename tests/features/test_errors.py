"""What errors say."""

import copy

from features.errors import ConfigError, InputError, ServiceError


def test_a_message_has_one_line_a_field() -> None:
    """Fields that are empty have no line."""
    error = ConfigError("unknown setting", "flowtag.toml", next_step="flowtag config")
    assert str(error) == "unknown setting\n  where: flowtag.toml\n  next: flowtag config"


def test_no_message_shows_a_password() -> None:
    """The password in a URL is masked wherever in an error it stands; an address without one stays."""
    error = ServiceError(
        "no answer", "postgresql://me:se@cret@host/db", "http://host:5000 and a@b", "s3://key:hidden@b/c"
    )
    shown = str(error)
    assert "cret" not in shown
    assert "hidden" not in shown
    assert "postgresql://me:***@host/db" in shown
    assert "http://host:5000 and a@b" in shown


def test_an_error_survives_pickling() -> None:
    """Workers hand errors to each other with every field; a copy is made by the same protocol."""
    error = copy.copy(ServiceError("what", "where", "expected", "received", "next"))
    assert (type(error), error.where, error.next_step) == (ServiceError, "where", "next")


def test_a_message_cannot_control_a_terminal() -> None:
    """Escape sequences, carriage returns, text turned round and bytes that are no UTF-8 are shown as escapes."""
    hostile = "a\x1b[2Jb\rc\u202ed\udcff\u00fc.pcap"
    expected = r"a\x1b[2Jb\rc\u202ed\udcff" + "\u00fc.pcap"
    assert str(InputError("no capture", hostile)) == f"no capture\n  where: {expected}"

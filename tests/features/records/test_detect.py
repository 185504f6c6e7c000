"""What detection makes of files that are no flow records, or of no known kind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from features.errors import RecordError
from features.records.detect import detect


@pytest.mark.parametrize(
    ("content", "useful"),
    [
        (b"", "empty"),
        (b"\n\n", "known kind"),
        (b"hello, world\n1,2\n", "known kind"),
        (b'{"event": 1}\n', "known kind"),
        (b"[\n{}\n]\n", "known kind"),
        (b"\x0c\xa5\x01\x00\x00\x00", "nfdump -r"),
        (b"Date first seen          Duration Proto\n", "nfdump -r"),
        (b"         StartTime      Flgs  Proto            SrcAddr  Sport\n", "ra -u -c ,"),
        (b"src_ip,flow_duration,flow_byts_s,tot_fwd_pkts,flow_iat_mean\n", "known kind"),
        ("ts,id.orig_h".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04\x14\0\0\0\x08\0conn.log", "unzip records"),
        (b"conn.log".ljust(257, b"\0") + b"ustar", "tar -xf records"),
        (b"ts,id.orig_h\0,x", "no text"),
        (b"ts,id.orig_h,id.resp_h,proto,duration\r1,1.1.1.1,2.2.2.2,tcp,1\r", "carriage return"),
        (b"#separator \\x09\n#path;conn\n#fields;ts;uid\n1;C\n", "another separator"),
        (b"PAR1 but not really", "Parquet"),
        (b"#separator \\x09\n#path\tdns\n#fields\tts\tquery\n1\tx\n", "not of connections"),
        (b"\x1f\x8b\x08broken", "to their end"),
    ],
)
def test_other_files_are_refused(record_file: Callable[..., Path], content: bytes, useful: str) -> None:
    """Each says what it is or which command makes it readable."""
    with pytest.raises(RecordError, match=useful):
        detect(record_file(content))


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    """Neither is a file of flow records."""
    with pytest.raises(RecordError, match="cannot be opened"):
        detect(tmp_path / "nothing")
    with pytest.raises(RecordError, match="directory"):
        detect(tmp_path)


def test_the_name_says_nothing(record_file: Callable[..., Path]) -> None:
    """A Zeek log is one under any name, with a byte order mark too."""
    text = b"\xef\xbb\xbfts,id.orig_h,id.resp_h,proto,duration\n1,1.1.1.1,2.2.2.2,tcp,1\n"
    assert detect(record_file(text, "eve.json")).adapter.name == "zeek_conn"

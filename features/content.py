"""What a file holds: packets, flow records of another tool, or a feature table; told by its content, never its name."""

import enum
from pathlib import Path

from features.captures.capture import open_capture
from features.captures.formats import NOT_A_CAPTURE
from features.errors import CaptureError, InputError, RecordError
from features.records.detect import detect
from features.records.exports.datagrams import carries_exports
from features.records.settings import DEFAULTS, RecordSettings
from features.table import is_feature_table


class Kind(enum.Enum):
    """What a file holds; the value is what messages call it."""

    CAPTURE = "capture"
    RECORDS = "flow records"
    TABLE = "feature table"


def kind_of(path: Path, settings: RecordSettings = DEFAULTS) -> Kind:
    """Return what a file holds.

    Raises:
        CaptureError: It cannot be opened, or is empty.
        InputError: It holds nothing that is known here; says how it looks as a capture and as flow records.
    """
    if is_feature_table(path):
        return Kind.TABLE
    try:
        open_capture(path).close()
    except CaptureError as error:
        no_capture = error
    else:
        return Kind.RECORDS if carries_exports(path) else Kind.CAPTURE
    if not path.is_file() or not path.stat().st_size:
        raise no_capture
    try:
        detect(path, settings)
    except RecordError as error:
        raise _unknown(path, no_capture, error) from error
    return Kind.RECORDS


def _unknown(path: Path, no_capture: CaptureError, no_records: RecordError) -> InputError:
    """Return the reason that helps: of a text file what its records lack, of any other what the capture lacks."""
    if no_capture.what != NOT_A_CAPTURE:
        return no_capture
    return InputError(
        f"{NOT_A_CAPTURE}, nor flow records: {no_records.what[0].lower()}{no_records.what[1:]}",
        no_records.where or str(path),
        f"a pcap or pcapng file; or {no_records.expected or 'flow records'}",
        no_records.received or no_capture.received,
        no_records.next_step,
    )

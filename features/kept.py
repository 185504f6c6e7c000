"""What is kept between two passes over one growing set of captures: the live flows and all that they came from.

A file of NumPy's npz, without pickles: `about` is JSON (version, fingerprint, files), every other the bytes of one
array of the meter, the fragment store, the context window or what payloads say. It fits only the settings and the
version that wrote it.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path

import numpy as np

from features.captures.packet_record import PACKET
from features.context import END, NEIGHBOUR
from features.errors import InputError
from features.metering.flow_record import FLOW
from features.metering.flow_table import LIVE, STATE
from features.metering.meter import MeterSettings
from features.payload.snippets import CHUNK, POOL

VERSION = 2
ABOUT = "about"
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class FileRead:
    """A file as far as it was read, known again by its content whatever it is called by then.

    Attributes:
        size: Its bytes when its reading began.
        digest: SHA-256 of those bytes.
        records: Packets read of it, which may be more than there were when the reading began.
    """

    size: int
    digest: str
    records: int


@dataclass
class Kept:
    """Where a pass over captures paused, brought up to date by the next one.

    Attributes:
        arrays: Of the meter and the context window by name; empty before the first pass.
        files: Every file read so far.
        rows: Rows handed out so far.
        seed: Of the hashes that neighbours are grouped by, 0 before the first pass.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    files: list[FileRead] = field(default_factory=list)
    rows: int = 0
    seed: int = 0

    def read_before(self, path: Path) -> FileRead | None:
        """Return what was read of a file before: of those whose bytes it begins with, the longest."""
        size = path.stat().st_size
        sizes = sorted({known.size for known in self.files if known.size <= size})
        prefixes = dict(zip(sizes, _prefix_digests(path, sizes), strict=True))
        matching = [known for known in self.files if prefixes.get(known.size) == known.digest]
        return max(matching, key=lambda known: known.size, default=None)

    def has_news_of(self, path: Path) -> bool:
        """Tell whether a file was not read before, or is longer than it was."""
        before = self.read_before(path)
        return before is None or before.size < path.stat().st_size

    def note(self, path: Path, size: int, records: int) -> None:
        """Remember that so many packets were read of a file that had so many bytes when its reading began."""
        before = self.read_before(path)
        (digest,) = _prefix_digests(path, [size])
        self.files = [known for known in self.files if known != before]
        self.files.append(FileRead(size, digest, records))

    def save(self, path: Path, settings: MeterSettings, context: bool = True) -> None:
        """Write it to a new file."""
        about = {
            "version": VERSION,
            "fingerprint": fingerprint(settings, context),
            "rows": self.rows,
            "seed": self.seed,
            "files": [asdict(known) for known in self.files],
        }
        text = np.frombuffer(json.dumps(about).encode(), np.uint8)
        with path.open("xb") as file:
            np.savez(file, allow_pickle=False, **{ABOUT: text}, **{key: _bytes(a) for key, a in self.arrays.items()})

    @classmethod
    def load(cls, path: Path, settings: MeterSettings, context: bool = True) -> "Kept":
        """Read what was kept.

        Raises:
            InputError: It cannot be read, or was kept by another version or under other settings.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            about = json.loads(arrays.pop(ABOUT).tobytes())
            files = [FileRead(**known) for known in about["files"]]
            made_by, rows, seed = (about["version"], about["fingerprint"]), about["rows"], about["seed"]
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise InputError("what was kept of earlier runs cannot be read", str(path), "", str(error)) from error
        if made_by != (VERSION, expected := fingerprint(settings, context)):
            raise InputError(
                "what was kept of earlier runs does not fit these settings or this version",
                str(path),
                expected,
                str(made_by[1]),
                "use the settings of the earlier runs, or move the folder away to begin anew",
            )
        return cls(arrays, files, rows, seed)


def fingerprint(settings: MeterSettings, context: bool) -> str:
    """Return 16 hexadecimal digits that change with the settings and with the form of what is kept."""
    forms = [str(kind.descr) for kind in (FLOW, LIVE, STATE, PACKET, NEIGHBOUR if context else END, CHUNK, POOL)]
    return hashlib.sha256(json.dumps([VERSION, astuple(settings), forms]).encode()).hexdigest()[:16]


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _prefix_digests(path: Path, sizes: list[int]) -> Iterator[str]:
    """Yield the SHA-256 of a file's first bytes, for sizes in rising order, in one pass."""
    digest, at = hashlib.sha256(), 0
    with path.open("rb") as file:
        for size in sizes:
            while at < size and (chunk := file.read(min(READ_BYTES, size - at))):
                digest.update(chunk)
                at += len(chunk)
            yield digest.hexdigest()

"""Every error flowtag raises on purpose, as one tree.

FlowtagError
├── ConfigError            a setting is unknown, malformed or contradictory      exit 3
├── InputError             something the user gave cannot be used                exit 4
│   ├── CaptureError       not a capture, damaged beyond its header
│   ├── RecordError        flow records of another tool
│   ├── SchemaError        a feature table of another schema
│   └── LabelError         rules, tags, vocabulary
├── ModelError             a detector cannot be trained, trusted or used         exit 5
│   ├── ModelMismatch      the detector wants other columns or tags
│   ├── Uncalibrated       no usable threshold could be chosen
│   ├── Diverged           training produced NaN or infinity
│   ├── UnsafeLoss         the loss asked for has firing on everything as its optimum
│   └── NoChampion         the registry holds no detector in use
└── ServiceError           a server or database did not answer; a retry may help exit 6
    └── StorageError       a disk is full, a folder cannot be written

A bad packet is data and is counted by reason; a bad file is an error. Fields are positional and the text is built in
``__str__``, so an error survives pickling between worker processes.
"""

import re
from typing import ClassVar


def masked(text: str) -> str:
    """Return a text without the passwords in its URLs: postgresql://me:secret@host becomes postgresql://me:***@host."""
    return re.sub(r"(://[^/@:\s]*):[^/\s]*@", r"\1:***@", text)


def printable(text: str) -> str:
    """Return a text that a terminal shows as it stands: what would control it, or hide, is written as an escape.

    Line ends stay. A file called by ESC[2J does not clear the screen of who reads its error.
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text)


class FlowtagError(Exception):
    """Base of every error here: what happened, where, what was expected, what came, what to run next."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, what: str, where: str = "", expected: str = "", received: str = "", next_step: str = "") -> None:
        super().__init__(what, where, expected, received, next_step)
        self.what = what
        self.where = where
        self.expected = expected
        self.received = received
        self.next_step = next_step

    def __str__(self) -> str:
        """Return the message a user reads, one labelled line a field, without empty fields, passwords or controls."""
        labelled = (
            ("where", self.where),
            ("expected", self.expected),
            ("received", self.received),
            ("next", self.next_step),
        )
        return printable(masked("\n".join([self.what, *(f"  {label}: {text}" for label, text in labelled if text)])))


class ConfigError(FlowtagError):
    """A setting is unknown, malformed or contradicts another."""

    exit_code = 3


class InputError(FlowtagError):
    """Something the user gave cannot be used."""

    exit_code = 4


class CaptureError(InputError):
    """A file is not a capture, or is damaged where no packet can be told from the next."""


class RecordError(InputError):
    """Flow records of another tool cannot be read."""


class SchemaError(InputError):
    """A feature table does not have the columns of this schema version."""


class LabelError(InputError):
    """A labelling rule, a tag or the vocabulary cannot be used."""


class ModelError(FlowtagError):
    """A detector cannot be trained, trusted or used."""

    exit_code = 5


class ModelMismatch(ModelError):  # noqa: N818 (reads as a noun in messages)
    """A detector was trained for other columns or tags than it is given."""


class Uncalibrated(ModelError):  # noqa: N818
    """No usable threshold could be chosen for a detector."""


class Diverged(ModelError):  # noqa: N818
    """Training produced NaN or infinity."""


class UnsafeLoss(ModelError):  # noqa: N818
    """The loss asked for is minimised by firing on every flow."""


class NoChampion(ModelError):  # noqa: N818
    """The registry holds no detector in use."""


class ServiceError(FlowtagError):
    """A server or database did not answer; trying again may help."""

    exit_code = 6
    retryable = True


class StorageError(ServiceError):
    """A disk or folder cannot be written: it is full, read-only, damaged or somebody else's."""

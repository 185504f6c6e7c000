"""Files of truth, told apart by their content: labelling rules, or what another tool made of the same traffic."""

from pathlib import Path

from features.errors import LabelError, RecordError
from features.labels.rule_files import read_rules
from features.labels.rules import Truth
from features.labels.settings import DEFAULTS, LabelSettings
from features.labels.verdicts import kind_of, read_verdicts
from features.labels.vocabulary import Vocabulary
from features.records.byte_stream import read_sample


def read_truth(path: Path, vocabulary: Vocabulary, settings: LabelSettings = DEFAULTS) -> Truth:
    """Return the truth of a file.

    Raises:
        LabelError: It is of no known kind, cannot be read, or names what is not in the vocabulary.
        ConfigError: A time zone is unknown.
    """
    try:
        kind = kind_of(read_sample(path).decode("utf-8", "replace").splitlines())
    except RecordError as error:
        expected = "rules (CSV, YAML), Suricata EVE, or Zeek's notice.log or weird.log"
        raise LabelError("The truth cannot be read", str(path), expected, error.received or error.what) from error
    if not kind:
        return read_rules(path, vocabulary, settings)
    return read_verdicts(path, kind, vocabulary, settings)

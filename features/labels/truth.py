"""Files of truth, told apart by their content: labelling rules, or what another tool made of the same traffic."""

from pathlib import Path

from features.labels.rule_files import read_rules
from features.labels.rules import Truth
from features.labels.settings import DEFAULTS, LabelSettings
from features.labels.vocabulary import Vocabulary


def read_truth(path: Path, vocabulary: Vocabulary, settings: LabelSettings = DEFAULTS) -> Truth:
    """Return the truth of a file.

    Raises:
        LabelError: It is of no known kind, cannot be read, or names what is not in the vocabulary.
        ConfigError: A time zone is unknown.
    """
    return read_rules(path, vocabulary, settings)

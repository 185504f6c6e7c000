"""The feature schema says everything about every column."""

import re

from features.schema import COLUMNS, FEATURE_NAMES, IDENTITY_NAMES, arrow_schema, difference, fingerprint


def test_each_column_is_described() -> None:
    """Name, type, unit, meaning and null rule are there, names are unique and lower case with underscores."""
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)
    for column in COLUMNS:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name), column
        assert column.meaning, column
        assert column.null, column
        assert column.unit or column.role != "feature", column


def test_identity_never_is_a_feature() -> None:
    """No address, port, time or capture name is among the features."""
    assert not set(FEATURE_NAMES) & set(IDENTITY_NAMES)
    telling = re.compile(r"(_ip$|_port$|^start$|^end$|capture|community|flow_id|ttl_m)")
    assert [name for name in FEATURE_NAMES if telling.search(name)] == []


def test_the_schema_equals_itself() -> None:
    """There is no difference to the own Arrow schema, and the fingerprint stands in it."""
    assert difference(arrow_schema()) == ""
    assert arrow_schema().metadata[b"flowtag.schema_fingerprint"].decode() == fingerprint()

"""Print docs/features.md: the feature schema as a reference for people."""

from itertools import groupby

from features.schema import COLUMNS, FEATURE_NAMES, SCHEMA_VERSION, fingerprint

INTRODUCTION = f"""# Features

Made by `python docs/make_features.py > docs/features.md`; do not edit.

Schema version {SCHEMA_VERSION}, fingerprint `{fingerprint()}`: {len(COLUMNS)} columns, of which {len(FEATURE_NAMES)}
may enter a network. Identity columns say which flow a row is, metadata columns are for people and joins: neither
enters one. "fwd" is from the side that sent the first packet, "bwd" from the side that was addressed. Missing is null,
never 0.
"""


TITLES = {
    "identity": "Identity",
    "course": "Course of the connection",
    "protocol": "Protocol and service",
    "volume": "Volumes",
    "rate": "Times and rates",
    "length": "Packet lengths",
    "gap": "Gaps between packets",
    "activity": "Activity and idleness",
    "tcp": "TCP",
    "network": "Network",
    "first": "The first packets",
    "payload": "What the first payload says",
    "context": "Context: the neighbours of a flow",
}


def main() -> None:
    """Print the reference."""
    print(INTRODUCTION)
    for group, columns in groupby(COLUMNS, key=lambda column: column.group):
        print(f"## {TITLES[group]}\n\n| column | type | unit | meaning | null |\n|---|---|---|---|---|")
        for column in columns:
            print(f"| `{column.name}` | {column.type} | {column.unit} | {column.meaning} | {column.null} |")
        print()


main()

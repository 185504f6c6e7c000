"""The command `tags`."""
# ruff: noqa: PLC0415 (help answers at once; a command's options are its parameters)

import json
from dataclasses import asdict

from flows.options import Json, show


def tags(as_json: Json = False) -> None:
    """Print the tags there are."""
    from features.labels.vocabulary import read_vocabulary
    from pipeline.report_text import table

    known = read_vocabulary().tags
    if as_json:
        show(json.dumps([asdict(tag) for tag in known], indent=1))
        return
    show("\n".join(table([(tag.name, tag.kind, tag.description) for tag in known], words=range(3))))

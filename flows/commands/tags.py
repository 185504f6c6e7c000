"""The command `tags`."""
# ruff: noqa: PLC0415 (help answers at once; a command's options are its parameters)

import json
from dataclasses import asdict

from flows.options import ConfigFile, Json, Overrides, show


def tags(config: ConfigFile = None, overrides: Overrides = None, as_json: Json = False) -> None:
    """Print the tags there are.

    Those of a vocabulary of your own (labels.vocabulary) are among them.
    """
    from features.labels.vocabulary import read_vocabulary
    from pipeline.config import load
    from pipeline.report_text import table

    known = read_vocabulary(load(config, overrides or ()).settings.labels.vocabulary).tags
    if as_json:
        show(json.dumps([asdict(tag) for tag in known], indent=1))
        return
    rows = [(tag.name, tag.kind, " ".join(tag.parents), " ".join(tag.attack), tag.description) for tag in known]
    show("\n".join(table([("tag", "kind", "implies", "ATT&CK", "meaning"), *rows], words=range(5))))

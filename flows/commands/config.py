"""The command `config`."""
# ruff: noqa: PLC0415 (help answers at once; a command's options are its parameters)

import json
from dataclasses import asdict

from flows.options import ConfigFile, Json, Overrides, State, show, with_state


def show_config(
    state: State = None, config: ConfigFile = None, overrides: Overrides = None, as_json: Json = False
) -> None:
    """Print every setting, its value and its source."""
    from pipeline.config import load
    from pipeline.report_text import table

    rows = load(config, with_state(state, overrides)).rows()
    if as_json:
        show(json.dumps([asdict(row) for row in rows], indent=1))
        return
    heads = ("setting", "value", "from", "meaning")
    cells = [(row.key, f"{row.value} {row.unit}".strip() or '""', row.origin, row.meaning) for row in rows]
    show("\n".join(table([heads, *cells], words=range(4))))

"""What the commands that compare learners share: their options, and where their tables go."""

import argparse
import json
from pathlib import Path
from typing import Any


def parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that each of them has."""
    options = argparse.ArgumentParser(prog=program, description=description)
    options.add_argument("work", type=Path, help="folder for results and metered captures")
    options.add_argument("--data", type=Path, default=Path("data"), help="folder with the tables of others")
    options.add_argument("--captures", type=Path, default=Path("captures"), help="folder with captures and their rules")
    options.add_argument("--tasks", nargs="*", help="only these")
    options.add_argument("--json", type=Path, help="write every result")
    options.add_argument("--markdown", type=Path, help="write the tables")
    return options


def publish(tables: str, plain: Any, options: argparse.Namespace) -> None:  # noqa: ANN401 (what JSON can hold)
    """Print the tables, and write them and the results where the options say."""
    print(tables)
    if options.markdown:
        options.markdown.write_text(tables + "\n", "utf-8")
    if options.json:
        options.json.write_text(json.dumps(plain, indent=1) + "\n", "utf-8")

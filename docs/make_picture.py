"""Draw docs/demo.svg from the report of a demo run: python docs/make_picture.py STATE > docs/demo.svg."""

import io
import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text


def main(state: Path) -> None:
    """Print the picture."""
    console = Console(record=True, width=92, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ flowtag demo", style="bold"))
    console.print(Text((state / "reports/demo-score.txt").read_text("utf-8").rstrip()))
    local = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)  # no font from elsewhere
    print(console.export_svg(title="flowtag", code_format=local))


main(Path(sys.argv[1]))

"""Compare our flows with those that nDPI, nfstream and Zeek made of the same captures.

python -m benchmarks.agreement DATA [--json OUT] > docs/agreement.md
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.agreement.references import read_listings, without_repeats
from benchmarks.agreement.report import markdown, plain
from benchmarks.agreement.survey import survey


def main() -> int:
    """Run the comparison and print the page; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=__doc__)
    parser.add_argument("data", type=Path, help="folder that holds pairs.csv, the captures and the references")
    parser.add_argument("--json", type=Path, help="write the same as JSON")
    options = parser.parse_args()
    if not (options.data / "pairs.csv").is_file():
        print(f"no pairs.csv in {options.data}: unpack the bundle dev_index there", file=sys.stderr)
        return 2
    listings = without_repeats(read_listings(options.data))
    tallies = survey(options.data, listings)
    print(markdown(tallies), end="")
    if options.json:
        options.json.write_text(json.dumps(plain(tallies), indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

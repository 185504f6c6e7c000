"""Label columns of record sources, from the file to tags."""

import os
from collections import Counter
from pathlib import Path

import pytest

from features.labels.labeller import WordLabeller
from features.labels.vocabulary import read_vocabulary
from features.records.extraction import extract_records

DATA = Path(os.environ.get("FLOWTAG_DATA", "/nonexistent")) / "tables"
SAMPLES = [
    ("iot23/CTU-Malware-Capture-8-1-labeled.csv.gz", {"command_and_control": 8222}, 2181),
    ("iot23/CTU-Malware-Capture-42-1-labeled.csv.gz", {"command_and_control": 6, "malware_transfer": 6}, 4420),
    ("cicids2017_original_dialect/CICIDS2017_sample.csv.gz", {"port_scan": 397, "web_attack": 2180}, 227),
    ("unsw_nb15/UNSW_NB15_training-set.dev75.csv.gz", {"exploit": 8435 + 284 + 34, "dos": 3128}, 26_924),
    ("cicids2017_improved/cicids2017_improved.dev70.csv.gz", {"slow_http": 3881, "exploit": 7}, 3525),
]

FIELDS = (
    "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto duration orig_bytes resp_bytes conn_state history "
    "orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes"
)
CELLS = (
    "1525879831.0 C1 192.168.1.2 51524 10.0.0.9 23 tcp 1.0 0 0 S0 S 3 180 0 0",
    "1525879832.0 C2 192.168.1.2 51525 10.0.0.9 53 udp 1.0 9 9 SF Dd 1 37 1 37",
)
LABELS = ("(empty)   Malicious   PartOfAHorizontalPortScan", "-   Benign   -")


def test_detailed_labels_of_zeeks_labeled_logs(tmp_path: Path) -> None:
    """The last cell of such a log holds three words; the detailed one becomes the tags."""
    path = tmp_path / "conn.log.labeled"
    header = "\t".join(["#fields", *FIELDS.split(), "tunnel_parents   label   detailed-label"])
    rows = ["\t".join([*cells.split(), label]) for cells, label in zip(CELLS, LABELS, strict=True)]
    path.write_text("\n".join(["#separator \\x09", header, *rows]) + "\n")
    labeller = WordLabeller(read_vocabulary())
    [batch] = labeller.label(extract_records([path]))
    assert batch.column("tags").to_pylist() == [["reconnaissance", "host_sweep"], []]
    assert (labeller.account.flows, labeller.account.benign) == (2, 1)


@pytest.mark.skipif(not DATA.is_dir(), reason="FLOWTAG_DATA names no folder of record samples")
@pytest.mark.parametrize(("name", "tags", "benign"), SAMPLES, ids=[row[0].partition("/")[2] for row in SAMPLES])
def test_words_of_real_samples(name: str, tags: dict[str, int], benign: int) -> None:
    """Every word has a meaning, and flows a tag as are counted a class in the samples' own index."""
    labeller = WordLabeller(read_vocabulary())
    for _ in labeller.label(extract_records([DATA / name])):
        pass
    assert labeller.account.unmapped == Counter()
    assert {tag: labeller.account.tags[tag] for tag in tags} == tags
    assert labeller.account.benign == benign

"""Rows with equal features and different tags."""

import pyarrow as pa

from features.labels.equal_rows import TagUnion, row_hashes
from features.labels.labeller import with_labels
from features.labels.vocabulary import read_vocabulary
from tests.features.labels.labelled_flows import flows


def labelled(batch: pa.RecordBatch, *tags: tuple[str, ...]) -> pa.RecordBatch:
    return with_labels(batch, [(row, ()) for row in tags], range(len(tags)))


def test_the_hash_is_of_features_alone() -> None:
    """Equal features have one hash whatever the identity; null is not 0, -0 is; any other value is another hash."""
    batch = flows({}, {"src_ip": "10.9.9.9"}, {"fwd_packets": 1}, {"fwd_packets": None}, {"fwd_packets": -0.0})
    first, same, other, null, zero = row_hashes(batch).tolist()
    assert first == same == zero
    assert len({first, other, null}) == 3


def test_equal_rows_get_the_union_of_their_tags() -> None:
    """Across batches, rows of equal features all get each other's tags, counted; other rows stay."""
    one = labelled(flows({}, {"fwd_packets": 1}, {"fwd_packets": 2}), ("impact",), ("reconnaissance",), ())
    two = labelled(flows({}, {"fwd_packets": 1}, {"fwd_packets": 3}), (), ("reconnaissance",), ("impact",))
    three = labelled(flows({}), ("reconnaissance",))
    united = TagUnion(read_vocabulary())
    united.learn([one, two, three])
    tags = [row for batch in united.apply([one, two, three]) for row in batch.column("tags").to_pylist()]
    both = ["reconnaissance", "impact"]
    assert tags == [both, ["reconnaissance"], [], both, ["reconnaissance"], ["impact"], both]
    assert united.counts == {"groups": 1, "flows": 3, "flows_changed": 3, "benign_made_attack": 1}
    assert (united.benign, united.tags["impact"]) == (1, 4)

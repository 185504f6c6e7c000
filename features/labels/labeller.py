"""Adds tags to feature rows, by rules or by the source's own words, and keeps account of what it did."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.addresses import mixed
from features.labels.matching import RuleIndex
from features.labels.rules import Rule
from features.labels.vocabulary import Vocabulary
from features.schema import LABEL_NAMES

MOST_PAIRS = 100_000
"""Pairs of overlapping rules that are told apart; beyond them no new pair is counted."""

SOURCE_LABEL = "source_label"
Indices = npt.NDArray[np.intp]


@dataclass
class Account:
    """What labelling did, complete once all batches were taken.

    Attributes:
        flows: Flows labelled.
        benign: Flows without a tag.
        tags: Flows that carry each tag.
        matched: Flows by rule number, or by word.
        near: Flows that only just missed a rule in time, by rule number.
        near_flows: Flows near the edge of at least one rule and matched by none.
        sets: Flows by the names of the rules that matched them.
        unmapped: Flows by word without a meaning.
    """

    flows: int = 0
    benign: int = 0
    tags: Counter[str] = field(default_factory=Counter)
    matched: Counter[int | str] = field(default_factory=Counter)
    near: Counter[int] = field(default_factory=Counter)
    near_flows: int = 0
    sets: Counter[tuple[str, ...]] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)

    def overlaps(self) -> dict[tuple[str, str], int]:
        """Return how many flows each two rules of different names share."""
        pairs: Counter[tuple[str, str]] = Counter()
        for names, flows in self.sets.most_common():
            for pair in itertools.combinations(sorted(names), 2):
                if pair in pairs or len(pairs) < MOST_PAIRS:
                    pairs[pair] += flows
                else:
                    break
        return dict(pairs.most_common())

    def saw(self, tags: Sequence[str], flows: int) -> None:
        """Count flows that carry some tags."""
        self.flows += flows
        self.benign += 0 if tags else flows
        self.tags.update(dict.fromkeys(tags, flows))


class RuleLabeller:
    """Gives flows the tags of the rules that match them."""

    def __init__(self, rules: Sequence[Rule], vocabulary: Vocabulary, near_s: float = 0.0) -> None:
        self._rules = rules
        self._index = RuleIndex(rules, near_s)
        self._vocabulary = vocabulary
        self.account = Account()

    def label(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield each batch with its tags (in the vocabulary's order) and the names of the rules that matched."""
        for batch in batches:
            matches = self._index.match(batch)
            for number, flows in _counted(matches.near_rules):
                self.account.near[number] += flows
            self.account.near_flows += len(np.setdiff1d(matches.near_flows, matches.flows))
            yield self._labelled(batch, matches.flows, matches.rules)

    def unmatched(self) -> list[Rule]:
        """Return the rules that matched no flow so far; lines of which several rules were made count as one."""
        matched = {(self._rules[int(number)].line) for number in self.account.matched}
        silent = {rule.line: rule for rule in self._rules if rule.line not in matched}
        return list(silent.values())

    def _labelled(self, batch: pa.RecordBatch, flows: Indices, rules: Indices) -> pa.RecordBatch:
        """Find the different sets of rules among the flows, and what each of them means, once."""
        kinds, sizes, meanings = [()], [batch.num_rows], np.zeros(batch.num_rows, np.int64)
        if len(flows):
            rows, first, count = np.unique(flows, return_index=True, return_counts=True)
            sums = np.add.reduceat(mixed(rules.astype(np.uint64) + np.uint64(1)), first)
            _, example, kind, size = np.unique(sums, return_index=True, return_inverse=True, return_counts=True)
            kinds += [tuple(rules[first[at] : first[at] + count[at]].tolist()) for at in example]
            sizes = [batch.num_rows - len(rows), *size.tolist()]
            meanings[rows] = kind + 1
        told = [self._meaning(numbers, size) for numbers, size in zip(kinds, sizes, strict=True)]
        return with_labels(batch, told, meanings)

    def _meaning(self, numbers: tuple[int, ...], flows: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return tags and names of a set of rules, and count the flows it matched."""
        chosen = [self._rules[number] for number in numbers]
        carried = {tag for rule in chosen for tag in rule.tags}
        tags = tuple(tag for tag in self._vocabulary.names if tag in carried)
        names = tuple(dict.fromkeys(rule.name for rule in chosen))
        self.account.saw(tags, flows)
        for number in numbers:
            self.account.matched[number] += flows
        if len(names) > 1:
            self.account.sets[names] += flows
        return tags, names


class WordLabeller:
    """Gives flows the tags that their source's own words mean; the words are counted, and stand in `rules`."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self.account = Account()

    def label(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield each batch with the tags of its words; a flow without a word, or with an unknown one, has none."""
        for batch in batches:
            encoded = batch.column(SOURCE_LABEL).cast(pa.string()).dictionary_encode()
            words = [*encoded.dictionary.to_pylist(), ""]
            codes = pc.fill_null(encoded.indices.cast(pa.int64()), len(words) - 1).to_numpy(zero_copy_only=False)
            sizes = np.bincount(codes, minlength=len(words)).tolist()
            told = [self._meaning(word, flows) for word, flows in zip(words, sizes, strict=True)]
            yield with_labels(batch, told, codes)

    def _meaning(self, word: str, flows: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        tags = self._vocabulary.label_tags(word)
        self.account.saw(tags or (), flows)
        if flows:
            (self.account.unmapped if tags is None else self.account.matched)[word] += flows
        return (tags, (word,)) if tags else ((), ())


def with_labels(
    batch: pa.RecordBatch, told: Sequence[tuple[tuple[str, ...], tuple[str, ...]]], codes: npt.NDArray[np.int64]
) -> pa.RecordBatch:
    """Return a batch with tags and rules behind its columns, the meaning of each row's code."""
    kind = pa.list_(pa.string())
    lists = [pa.array([one[part] for one in told], kind).take(pa.array(codes)) for part in range(2)]
    fields = [pa.field(name, kind, nullable=False) for name in LABEL_NAMES]
    return pa.RecordBatch.from_arrays(
        [*batch.columns, *lists], schema=pa.schema([*batch.schema, *fields], batch.schema.metadata)
    )


def _counted(numbers: Indices) -> Iterator[tuple[int, int]]:
    values, counts = np.unique(numbers, return_counts=True)
    yield from zip(values.tolist(), counts.tolist(), strict=True)

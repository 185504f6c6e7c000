"""Goes through the captures that have a reference and counts what agrees."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.agreement.causes import Case, Finding, explain, explain_misread, explain_ours
from benchmarks.agreement.fields import compare
from benchmarks.agreement.flows import Flow, is_tcp_or_udp, meter
from benchmarks.agreement.frames import Frame, Key, read_frames
from benchmarks.agreement.joining import Measure, Pair, join, join_by_totals, keys_of
from benchmarks.agreement.payloads import compare_payloads
from benchmarks.agreement.references import Listing, Reference
from benchmarks.agreement.rules import RULES, Reason
from features.errors import FlowtagError


@dataclass
class Tally:
    """What was counted of one tool's references.

    Attributes:
        captures: By what became of them: "compared", or why not.
        flows: Their flows in captures not compared, by the same words, and "compared".
        agree: Flows of theirs by what agrees: "found", "packets", "bytes", "both"; of the rest "inside", with our
            inner layer.
        causes: Flows of theirs that do not agree, by reason; a flow may have several.
        only_ours: Flows of ours that are none of theirs, by reason.
        fields: Comparisons by field, whether they agree, and the rule if not.
        payloads: Likewise, of what the first payload says.
        examples: One capture and flow for every reason and every rule of a field.
        verdicts: Flows of theirs that do not agree, by the verdict on the worst of their reasons.
    """

    captures: Counter[str] = field(default_factory=Counter)
    flows: Counter[str] = field(default_factory=Counter)
    agree: Counter[str] = field(default_factory=Counter)
    causes: Counter[Reason] = field(default_factory=Counter)
    only_ours: Counter[Reason] = field(default_factory=Counter)
    fields: Counter[tuple[str, bool, str]] = field(default_factory=Counter)
    payloads: Counter[tuple[str, bool, str]] = field(default_factory=Counter)
    examples: dict[object, str] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)


def survey(folder: Path, listings: Sequence[Listing]) -> dict[str, Tally]:
    """Return the tallies by tool."""
    tallies = {tool: Tally() for tool in RULES if any(listing.tool == tool for listing in listings)}
    # nfstream tells no ends: nDPI's flows of the same capture say where to look
    ends = {listing.capture: listing.flows + listing.others for listing in listings if listing.tool == "nDPI"}
    for listing in listings:
        hints = ends.get(listing.capture, ()) if listing.tool == "nfstream" else ()
        _add(tallies[listing.tool], folder, listing, hints)
    return tallies


def _add(tally: Tally, folder: Path, listing: Listing, hints: tuple[Reference, ...]) -> None:
    """Add one capture to a tally."""
    outcome, frames, flows = listing.not_comparable, [], []
    if not outcome:
        try:
            frames = read_frames(folder / listing.capture)
            flows = meter(folder / listing.capture, listing.tool, frames)
        except FlowtagError as error:
            outcome = error.what
    tally.captures[outcome or "compared"] += 1
    tally.flows[outcome or "compared"] += len(listing.flows)
    if not outcome:
        left = _compare(tally, listing, frames, flows, hints)
        if left:
            tally.agree["inside"] += agree_inside(folder / listing.capture, replace(listing, flows=left), flows)


def agree_inside(path: Path, listing: Listing, outer: Sequence[Flow]) -> int:
    """Return how many flows of a listing agree in packets and bytes with ours of the inner layer alone."""
    known = {(flow.key, flow.row.tobytes()) for flow in outer}
    frames = read_frames(path, "inner")
    flows = [flow for flow in meter(path, listing.tool, frames, "inner") if (flow.key, flow.row.tobytes()) not in known]
    return sum(pair.agrees for pair in joined(listing, frames, flows)[0])


def _compare(
    tally: Tally, listing: Listing, frames: Sequence[Frame], flows: Sequence[Flow], hints: tuple[Reference, ...]
) -> tuple[Reference, ...]:
    """Compare the flows of one capture; returns those of theirs that do not agree."""
    pairs, rest = joined(listing, frames, flows)
    told: dict[Key, frozenset[Reason]] = {}
    for pair in pairs:
        outcome = {"found": pair.ours is not None, "packets": pair.same_packets, "bytes": pair.same_bytes}
        for name, is_so in {**outcome, "both": pair.agrees}.items():
            tally.agree[name] += int(is_so)
        if pair.agrees:
            _add_fields(tally, pair, frames, listing)
        else:
            finding = _finding(pair, frames, flows, listing.tool, hints)
            _add_causes(tally, _example(listing, pair), finding)
            told |= dict.fromkeys((key for key, _, _ in keys_of(pair.theirs)), finding.reasons)
    for flow in rest if listing.tool != "nfstream" else ():
        for reason in explain_ours(flow, frames, told, RULES[listing.tool]):
            tally.only_ours[reason] += 1
            tally.examples.setdefault(("ours", reason), listing.capture.split("/")[-1])
    return tuple(pair.theirs for pair in pairs if not pair.agrees)


def _add_fields(tally: Tally, pair: Pair, frames: Sequence[Frame], listing: Listing) -> None:
    if not pair.ours:
        return
    told = [(tally.fields, compare(pair, pair.ours, frames, listing.tool))]
    if listing.tool == "nDPI" and pair.ours.frames:
        told.append((tally.payloads, compare_payloads(pair, pair.ours, frames)))
    for counter, comparisons in told:
        for one in comparisons:
            counter[one.name, one.agrees, one.rule] += 1
            tally.examples.setdefault((one.name, one.agrees, one.rule), _example(listing, pair))


def joined(listing: Listing, frames: Sequence[Frame], flows: Sequence[Flow]) -> tuple[list[Pair], list[Flow]]:
    """Join a listing with our flows: by totals where it tells no ends, and then with the flows of every protocol."""
    sizes = {
        "nDPI": [len(frame.data) for frame in frames],
        "nfstream": [max(frame.original, len(frame.data)) for frame in frames],
        "Zeek": [frame.length for frame in frames],
    }
    measure = Measure(sizes[listing.tool], [frame.length for frame in frames])
    if listing.tool == "nfstream":
        return join_by_totals(listing.flows, flows, measure)
    return join(listing.flows, [flow for flow in flows if is_tcp_or_udp(flow)], measure)


def _finding(
    pair: Pair, frames: Sequence[Frame], flows: Sequence[Flow], tool: str, hints: tuple[Reference, ...]
) -> Finding:
    """Explain a pair; where no ends were told, try those of nDPI's flows in the same capture."""
    if tool != "nfstream":
        return explain(pair, Case(pair.theirs, frames, RULES[tool]), flows)
    for hint in hints:
        theirs = replace(pair.theirs, protocol=hint.protocol, src=hint.src, dst=hint.dst, vlan=None)
        finding = explain(Pair(theirs, None, None), Case(theirs, frames, RULES[tool]), flows)
        if finding.explained:
            return finding
    return explain_misread(pair.theirs, frames, RULES[tool])


def _add_causes(tally: Tally, told: str, finding: Finding) -> None:
    worst = max((reason.cause.verdict for reason in finding.reasons), key=lambda verdict: verdict.weight)
    tally.verdicts[worst.value] += 1
    for reason in finding.reasons:
        tally.causes[reason] += 1
        tally.examples.setdefault(reason, told)


def _example(listing: Listing, pair: Pair) -> str:
    """Return the capture's name and the flow's ends, if told."""
    theirs = pair.theirs
    ends = f", {theirs.src[0]}:{theirs.src[1]} to {theirs.dst[0]}:{theirs.dst[1]}" if theirs.src[0] else ""
    return listing.capture.split("/")[-1] + ends

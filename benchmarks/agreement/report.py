"""The tallies as a page of Markdown, and as plain data for JSON."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.agreement.flows import NEVER_S, ROUNDS
from benchmarks.agreement.rules import Cause, Reason, Verdict
from benchmarks.agreement.survey import Tally
from features.metering.meter import MeterSettings

HEAD = """# Agreement with other flow meters

Made by `python -m benchmarks.agreement DATA > docs/agreement.md`, in the project's folder. DATA is a folder of
captures with references that other people made with other tools; `pairs.csv` in it names both. The data is no part of
the project.

Each capture is metered with the timeouts that come closest to the other tool's. Flows are joined by 5-tuple,
whichever side sent. The references tell no absolute times, so several flows of one 5-tuple are told apart by packets
and bytes, and then by order. Bytes are compared in the other tool's measure: captured frames (nDPI), frames on the
wire (nfstream), IP datagrams (Zeek); what a frame adds to its datagram is added to our sum of datagrams. nfstream's
references tell neither ends nor protocol: there a flow of any protocol is found when one of ours has its packets and
bytes. A reference that says of a capture what another one says of it is counted once.

Our outer layer is compared, which is the default. What does not agree with it is compared with our inner one
(`meter.layer = inner`) as well; all other tables are of the outer layer.
"""

CAUSES_HEAD = """## Classes of disagreement in packets and bytes

For each flow of theirs that does not agree, its packets are looked for in the capture by their addresses, protocol
and ports, at any depth. A class is named only if the packets that its rule leaves over are exactly their flow, in
packets and bytes and in both directions; all else is "unexplained". A flow may be in two classes. Sources: nDPI's
`example/reader_util.c`, nfstream's `engine/lib_engine.c` and `meter.py`, Zeek's `TCPSessionAdapter.cc` and
`scripts/base/init-bare.zeek`.
"""

FIELDS_HEAD = """## Fields

Of the flows that agree in packets and bytes. "By a rule" are those where a rule, computed from the frames, gives
their value. nDPI tells durations to 10 ms, gaps to 1 ms, lengths to a byte and the payload in hundredths; lengths and
gaps only of longer flows. Its lengths are of frames: they agree with ours where every frame adds as many bytes to its
datagram, and not where Ethernet pads short ones. Zeek tells durations to 1 us. "Handshake" is Zeek's `conn_state` in
four groups (established, unanswered, refused, other) beside our `established`, `syn_ns`, `syn_ack_ns` and flags;
`conn_state` and `history` are compared letter for letter.
"""

PAYLOADS_HEAD = """## What the first payload says

Of the flows that agree in packets and bytes, those of which ndpiReader or we tell the value; the other references tell
none. "By a rule" are those where the flow's own payload shows the rule. nDPI reads on through the flow; we read the
beginning of each side, up to a limit. A fingerprint is JA4 as its authors describe it.
"""

SHARES = (("found", "found"), ("packets", "packets agree"), ("bytes", "bytes agree"), ("both", "both agree"))


def markdown(tallies: Mapping[str, Tally]) -> str:
    """Return the page."""
    fields, payloads = ({tool: getattr(one, name) for tool, one in tallies.items()} for name in ("fields", "payloads"))
    parts = [HEAD, _summary(tallies), _settings(), FIELDS_HEAD, _fields(tallies, fields)]
    parts += [PAYLOADS_HEAD, _fields(tallies, payloads), CAUSES_HEAD, _causes(tallies)]
    return "\n".join([*parts, _only_ours(tallies), _captures(tallies)])


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def share(part: int, whole: int) -> str:
    """Return a part in per cent: 8501 of 8587 is "99.00 %"; never rounded up to 100."""
    if not whole:
        return ""
    return f"{100 * part / whole:.2f} %" if part == whole else f"{min(100 * part / whole, 99.99):.2f} %"


def _summary(tallies: Mapping[str, Tally]) -> str:
    rows: list[list[object]] = [
        [
            "captures compared",
            *(f"{tally.captures['compared']} of {tally.captures.total()}" for tally in tallies.values()),
        ],
        ["their flows in them", *(tally.flows["compared"] for tally in tallies.values())],
    ]
    rows += [[title, *(_counted(tally.agree[name], tally) for tally in tallies.values())] for name, title in SHARES]
    rows.append(
        [
            "both agree, on one layer or the other",
            *(_counted(tally.agree["both"] + tally.agree["inside"], tally) for tally in tallies.values()),
        ]
    )
    rows.append(["both agree, or differ by their rule or the layer", *map(_settled, tallies.values())])
    rows.append(["differ:", *("" for _ in tallies)])
    for verdict in Verdict:
        rows.append(
            [
                f"- {verdict.value}",
                *(_counted(tally.verdicts[verdict.value], tally) for tally in tallies.values()),
            ]
        )
    return table(["", *tallies], rows)


def _settled(tally: Tally) -> str:
    """Count the flows that agree or whose difference is no fault of ours."""
    return _counted(
        tally.agree["both"] + tally.verdicts[Verdict.THEIRS.value] + tally.verdicts[Verdict.LAYER.value], tally
    )


def _counted(count: int, tally: Tally) -> str:
    return f"{count} ({share(count, tally.flows['compared'])})"


def _settings() -> str:
    rows = [
        [
            tool,
            ("TCP" if set(one.protocols) == {6} else "others" if len(rounds) > 1 else "all"),
            *_timeouts(one.settings),
        ]
        for tool, rounds in ROUNDS.items()
        for one in rounds
    ]
    head = ["compared with", "protocols", "idle timeout, s", "active timeout, s", "grace after a TCP end, s"]
    return "## Our settings\n\n" + table(head, rows)


def _timeouts(settings: MeterSettings) -> list[str]:
    values = (settings.idle_timeout_s, settings.active_timeout_s, settings.tcp_grace_s)
    return ["never" if value == NEVER_S else f"{value:g}" for value in values]


def _fields(tallies: Mapping[str, Tally], counters: Mapping[str, Counter[tuple[str, bool, str]]]) -> str:
    rows = []
    for tool, counted in counters.items():
        for name in dict.fromkeys(name for name, _, _ in counted):
            of_name = {(agrees, rule): count for (field, agrees, rule), count in counted.items() if field == name}
            whole, agree = sum(of_name.values()), of_name.get((True, ""), 0)
            rules = Counter({rule: count for (agrees, rule), count in of_name.items() if not agrees and rule})
            named = "; ".join(f"{rule} ({count})" for rule, count in rules.most_common())
            left = [of_name.get((False, ""), 0), tallies[tool].examples.get((name, False, ""), "")]
            rows.append(
                [tool, name, whole, agree, share(agree, whole), named, " ".join(str(one) for one in left if one)]
            )
    return table(["tool", "field", "flows", "agree", "share", "by a rule", "unexplained"], rows)


def _causes(tallies: Mapping[str, Tally]) -> str:
    rows = []
    for cause in Cause:
        counts = [_of(tally.causes, cause) for tally in tallies.values()]
        if sum(counts):
            example = next(
                tally.examples[reason] for tally in tallies.values() for reason in tally.causes if reason.cause is cause
            )
            rows.append(
                [cause.title, cause.verdict.value, *counts, _details(tallies, cause), f"{cause.text} E.g. {example}."]
            )
    return table(["class", "whose choice", *tallies, "in particular", "explanation"], rows)


def _of(reasons: Mapping[Reason, int], cause: Cause) -> int:
    return sum(count for reason, count in reasons.items() if reason.cause is cause)


def _details(tallies: Mapping[str, Tally], cause: Cause) -> str:
    details: Counter[str] = Counter()
    for tally in tallies.values():
        details.update(
            {reason.detail: count for reason, count in tally.causes.items() if reason.cause is cause and reason.detail}
        )
    return ", ".join(f"{detail} {count}" for detail, count in details.most_common())


def _only_ours(tallies: Mapping[str, Tally]) -> str:
    rows = [
        [tool, reason.cause.title, reason.detail, count, tally.examples["ours", reason]]
        for tool, tally in tallies.items()
        for reason, count in tally.only_ours.most_common()
    ]
    head = "## Flows that are only ours\n\nOf TCP and UDP; nfstream's references do not tell.\n\n"
    return head + table(["tool", "class", "in particular", "flows", "e.g."], rows)


def _captures(tallies: Mapping[str, Tally]) -> str:
    rows = [
        [tool, reason, count, tally.flows[reason]]
        for tool, tally in tallies.items()
        for reason, count in tally.captures.most_common()
        if reason != "compared"
    ]
    return "## Captures not compared\n\n" + table(["tool", "why", "captures", "their flows in them"], rows)


def plain(tallies: Mapping[str, Tally]) -> dict[str, Any]:
    """Return the tallies as JSON can hold them."""
    return {
        tool: {
            "captures": dict(tally.captures),
            "flows": dict(tally.flows),
            "agree": dict(tally.agree),
            "verdicts": dict(tally.verdicts),
            "causes": _listed(tally.causes),
            "only_ours": _listed(tally.only_ours),
            "fields": _compared(tally, tally.fields),
            "payloads": _compared(tally, tally.payloads),
        }
        for tool, tally in tallies.items()
    }


def _compared(tally: Tally, counted: Counter[tuple[str, bool, str]]) -> list[dict[str, Any]]:
    names = ("field", "agrees", "rule")
    return [
        {**dict(zip(names, key, strict=True)), "flows": count, "example": tally.examples[key]}
        for key, count in counted.items()
    ]


def _listed(reasons: Counter[Reason]) -> list[dict[str, Any]]:
    return [
        {"class": one.cause.title, "verdict": one.cause.verdict.value, "detail": one.detail, "flows": count}
        for one, count in reasons.most_common()
    ]

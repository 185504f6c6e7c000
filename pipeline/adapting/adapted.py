"""What a detector is adapted by, and what that gave, as plain values and as text."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from features.errors import InputError
from pipeline.registered import Registered


@dataclass(frozen=True)
class Sources:
    """Tables by their role: of the network without labels, of the network with labels, and ones trained on before.

    Raises:
        InputError: One has two roles, or is named twice: its flows would say two things, or count twice.
    """

    local: tuple[Path, ...]
    labelled: tuple[Path, ...] = ()
    replayed: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what has two roles."""
        counts = Counter((*self.local, *self.labelled, *self.replayed))
        if twice := [str(path) for path, times in counts.items() if times > 1]:
            raise InputError("the same traffic twice", "flowtag adapt", "each source in one role", ", ".join(twice))

    def by_role(self) -> dict[str, Path]:
        """Return each table by its role and number."""
        roles = {"local": self.local, "labelled": self.labelled, "replayed": self.replayed}
        return {f"{role} {at}": table for role, tables in roles.items() for at, table in enumerate(tables)}


@dataclass(frozen=True)
class Suspect:
    """A source that was set aside because most of its flows fire: an attacker, or what is taken for one."""

    source: str
    flows: int
    fired: int


@dataclass(frozen=True)
class Side:
    """What a detector does, before or after.

    Attributes:
        fired: Share of the held-out local flows on which a tag fires; what attacks there are among them counts too.
        fired_elsewhere: The same without the flows of sources that were set aside; None where nothing is left.
        far: Share of the held-out local flows that are unlike what the detector knows; None where it never said.
        silent_rate: Of flows whose truth is known; None where there are none.
        false_alarm_rate: Of the same.
    """

    fired: float
    fired_elsewhere: float | None
    far: float | None
    silent_rate: float | None
    false_alarm_rate: float | None


@dataclass(frozen=True)
class Adapted:
    """A detector adapted to a network.

    Attributes:
        registered: The new version.
        accepted: Whether the verdict would let it into use.
        parent: The version that it was made of.
        budget: Share of local flows that may fire.
        used: Local flows that thresholds were lifted for.
        set_aside: Local flows of suspects, not among those.
        held_out: Last local flows, that it is judged by.
        learned: Flows it was fine-tuned on; 0 where the network is the parent's.
        truth: Where silent and false-alarm rates come from, such as "stored validation flows"; empty without any.
        limit: Share of far flows beyond which the new version's thresholds do not hold.
        calibrated: Whether its scores have curves that make them probabilities; without labelled attacks held out from
            a fine-tuning there is nothing to fit them to.
        silenced: Tags that could fire before and can no more.
        suspects: The sources set aside, those of most flows first.
        before: The parent.
        after: The new version.
    """

    registered: Registered
    accepted: bool
    parent: str
    budget: float
    used: int
    set_aside: int
    held_out: int
    learned: int
    truth: str
    limit: float
    calibrated: bool
    silenced: tuple[str, ...]
    suspects: tuple[Suspect, ...]
    before: Side
    after: Side


def as_text(adapted: Adapted, shown: int = 5) -> str:
    """Return what a person wants to know."""
    return "\n".join(_lines(adapted, shown))


def _lines(found: Adapted, shown: int) -> Iterator[str]:
    learned = f", fine-tuned on {found.learned:,} flows" if found.learned else ""
    yield str(found.registered)
    yield f"{found.parent}, adapted by {found.used:,} local flows to a budget of {found.budget:.3%}{learned}"
    yield ""
    yield f"the last {found.held_out:,} local flows, by time{'before':>18}{'after':>10}"
    rows = [
        ("flows that fire", found.before.fired, found.after.fired),
        ("the same without suspects", found.before.fired_elsewhere, found.after.fired_elsewhere),
        (f"unlike what it knows (limit {found.limit:.0%})", found.before.far, found.after.far),
    ]
    if found.truth:
        rows.append((f"silent rate, {found.truth}", found.before.silent_rate, found.after.silent_rate))
        rows.append((f"false alarms, {found.truth}", found.before.false_alarm_rate, found.after.false_alarm_rate))
    for title, before, after in rows:
        yield f"  {title:<44}{_share(before):>8}{_share(after):>10}"
    yield ""
    if found.suspects:
        yield (
            f"{found.set_aside:,} flows of {len(found.suspects)} sources were set aside: they look like attacks. "
            "If they are harmless: --set adapt.attack_share=0"
        )
        for one in found.suspects[:shown]:
            yield f"  {one.source or 'unknown'}: {one.fired:,} of {one.flows:,} flows fire"
    if not found.accepted and found.truth:
        yield (
            "If attacks are more of this traffic than assumed, they lifted thresholds above themselves: leave them "
            "out, or raise adapt.attack_share."
        )
    if found.silenced:
        yield f"Too noisy here to fire at all: {', '.join(found.silenced)}"
    if not found.calibrated:
        yield "Its scores are no probabilities: no labelled attacks were held out to fit them to."
    if found.after.fired > 3 * found.budget:
        yield (
            f"The held-out flows fire {found.after.fired / found.budget:.0f} times as often as the budget: attacks, or "
            "traffic that changes. Look at them, or adapt by more hours."
        )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"

"""What adapting gave, as text for a person."""

from dataclasses import replace
from pathlib import Path

import pytest

from features.errors import InputError
from pipeline.adapting.adapted import Adapted, Side, Sources, Suspect, as_text
from pipeline.registered import Registered

QUIET = Adapted(
    registered=Registered("flowtag", 2, False, "silent rate 1.0000% is within its limit 5.0000%", "run"),
    accepted=True,
    parent="flowtag version 1",
    budget=0.001,
    used=8_000,
    set_aside=0,
    held_out=2_000,
    learned=0,
    truth="stored validation flows",
    limit=0.1,
    calibrated=True,
    silenced=(),
    suspects=(),
    before=Side(0.4, 0.4, 0.8, 0.01, 0.001),
    after=Side(0.001, 0.001, 0.02, 0.02, 0.0),
)


def test_before_and_after_stand_side_by_side() -> None:
    """Each rate in percent, before and after; nothing is said of what is not the case."""
    lines = as_text(QUIET).splitlines()
    assert lines[0] == "flowtag version 2 is not in use: silent rate 1.0000% is within its limit 5.0000%"
    assert lines[1] == "flowtag version 1, adapted by 8,000 local flows to a budget of 0.100%"
    rows = {line[:46].strip(): line[46:].split() for line in lines[4:9]}
    assert rows["flows that fire"] == ["40.00%", "0.10%"]
    assert rows["unlike what it knows (limit 10%)"] == ["80.00%", "2.00%"]
    assert rows["silent rate, stored validation flows"] == ["1.00%", "2.00%"]
    assert "set aside" not in as_text(QUIET)
    assert "attack_share" not in as_text(QUIET)


def test_what_a_person_should_look_at() -> None:
    """Suspects by address, tags that fell silent, a held-out part that floods, a refusal: each has its sentence."""
    suspects = tuple(Suspect(f"10.0.0.{at}", 10, 9) for at in range(7))
    found = replace(
        QUIET,
        accepted=False,
        set_aside=70,
        suspects=suspects,
        silenced=("dos", "syn_flood"),
        after=Side(0.01, None, None, 0.3, 0.0),
    )
    text = as_text(found)
    assert "70 flows of 7 sources were set aside" in text
    assert text.count("9 of 10 flows fire") == 5
    assert "Too noisy here to fire at all: dos, syn_flood" in text
    assert "10 times as often as the budget" in text
    assert "raise adapt.attack_share" in text
    assert text.splitlines()[5].split()[-1] == "-"


def test_without_known_truth_nothing_is_said_of_silence() -> None:
    """A rate that nobody could measure has no row."""
    assert "silent rate," not in as_text(replace(QUIET, truth=""))


def test_one_source_in_two_roles() -> None:
    """Benign by assumption and labelled at once, or counted twice: refused before anything is read."""
    one = Path("monday.pcap")
    for roles in (((one,), (one,)), ((one, one),)):
        with pytest.raises(InputError, match="the same traffic twice"):
            Sources(*roles)


def test_scores_that_are_no_probabilities() -> None:
    """Where nothing could be fitted that is said, and only there."""
    assert "no probabilities" in as_text(replace(QUIET, calibrated=False))
    assert "no probabilities" not in as_text(QUIET)

"""Which adapter a file's columns are of, and how the adapter spells them.

Exports, databases and notebooks rename columns on their way: id_orig_h, flow_duration, log_status. Case and all but
letters and digits are no difference here, as long as no other column has the adapter's own spelling.
"""

import re
from collections.abc import Iterable, Sequence

from features.records.adapter import Adapter


def plain(name: str) -> str:
    """Return a column's name in small letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def spelled(columns: Sequence[str], adapter: Adapter) -> tuple[str, ...]:
    """Return a file's columns in the adapter's spelling, those that it does not know as they are."""
    known = {plain(name): name for name in reversed(adapter.known_columns())}
    taken = set(columns)
    names = []
    for column in columns:
        name = known.get(plain(column), column)
        if column in adapter.known_columns() or name in taken:
            name = column
        taken.add(name)
        names.append(name)
    return tuple(names)


def told_by(columns: Sequence[str], adapters: Iterable[Adapter]) -> tuple[Adapter, tuple[str, ...]] | None:
    """Return the adapter that fits some columns, and the columns in its spelling; exact names go before others."""
    for spell in (lambda names, _adapter: tuple(names), spelled):
        for adapter in adapters:
            if adapter.fits(frozenset(spell(columns, adapter))):
                return adapter, spelled(columns, adapter)
    return None

"""Feature tables in the columns, names and units of other tools."""

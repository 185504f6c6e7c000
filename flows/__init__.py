"""Prefect flows (jobs) and the flowtag command: wiring only."""

"""Packets to flows: the flow table, its rules, and what is kept of every flow."""

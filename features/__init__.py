"""Captures to flows to feature tables to tags: bytes, time and columns; nothing that learns or schedules."""

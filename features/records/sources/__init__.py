"""The adapters: one module a tool, each a table and at most a few functions."""

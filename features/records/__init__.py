"""Flow records of other tools: detected by content, read in blocks, brought into the one feature schema."""

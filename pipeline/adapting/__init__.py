"""Making a detector that was trained elsewhere fit for a network, from that network's own traffic."""

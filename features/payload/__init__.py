"""What the first bytes of a flow's payload say: DNS, TLS, HTTP, SSH and QUIC, parsed only where it is certain."""

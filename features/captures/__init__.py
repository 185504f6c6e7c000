"""Bytes of captures to packets: formats, compressions, links, tunnels, IP and transport headers."""

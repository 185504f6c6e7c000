"""Compiling ahead."""

from pipeline.warmup import compile_kernels


def test_both_formats_go_through_every_kernel() -> None:
    """The same two packets and a fragment are one flow in a pcap and one in a pcapng."""
    assert compile_kernels() == 2

"""Compiling ahead."""

from pipeline.warmup import compile_kernels


def test_two_packets_are_one_flow() -> None:
    """A SYN and its answer go through every kernel and come out as one flow."""
    assert compile_kernels() == 1

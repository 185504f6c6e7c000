"""The command `warmup`."""
# ruff: noqa: PLC0415 (help answers at once; a command's options are its parameters)

from flows.options import ConfigFile, Overrides, State, settings_of, show


def warmup(state: State = None, config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Compile the kernels ahead.

    Then the first capture does not wait for it.
    """
    settings_of(state, config, overrides, verbose=False)
    from pipeline.warmup import compile_kernels

    compile_kernels()
    show("The kernels are compiled.")

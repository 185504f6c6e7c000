"""The subcommands of `flowtag`: one module each."""

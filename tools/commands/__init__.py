"""The subcommands of `hga`: every module here holds the one of its own name."""

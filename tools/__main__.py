"""`python -m tools` is the `hga` command."""

from tools.cli import main

main(prog_name="hga")

"""`python -m xprune` is `xprune-edge`."""

from xprune.cli import main

main(prog_name="xprune-edge")

"""Make `python -m runtime_bench` the command of the device side."""

from runtime_bench.cli import main

if __name__ == "__main__":
    main(prog_name="python -m runtime_bench")

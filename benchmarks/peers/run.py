"""Our clients and python-binance in the same interleaved rounds.

python benchmarks/peers/run.py PEERS_PYTHON [--rounds 5] [--share 0.3]
"""

import argparse
from pathlib import Path

from crossfeed.cli.bench.report import scenario_table
from crossfeed.cli.bench.scenarios import SCENARIOS
from crossfeed.cli.bench.suite import Client, clients, machine, run_rounds

FOLDER = Path(__file__).parent


def main() -> None:
    """Measure ticks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.3)
    options = parser.parse_args()
    peer = Client(
        "python-binance",
        "python-binance",
        command=(options.python, str(FOLDER / "python_binance.py")),
    )
    rows = run_rounds(
        SCENARIOS["ticks"],
        rounds=options.rounds,
        share=options.share,
        measured=[*clients(), peer],
    )
    print("\n".join(f"- {line}" for line in machine()))
    print(scenario_table(rows))


if __name__ == "__main__":
    main()

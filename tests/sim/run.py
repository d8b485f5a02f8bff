#!/usr/bin/env python3
"""Run simulated clusters from the command line.

python tests/sim/run.py --seed 4711               one run: its options, its faults, its result
python tests/sim/run.py --seed 4711 --trace       the same, with what happened around the first violation
python tests/sim/run.py --seeds 0..1999 --jobs 2  many runs; what they exercised with --coverage
python tests/sim/run.py --seeds 0..99999 --jobs 2 --progress .sim/progress.jsonl --minutes 60
                                                  very many, over several sessions; --progress alone tells the state
"""

from __future__ import annotations

import sys

from simcluster.cli import main

if __name__ == "__main__":
    sys.exit(main())

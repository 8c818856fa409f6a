"""Beside the stages: the venues' protocols served over real sockets, with a ledger of the truth.

Input: a seed, a rate and a fault schedule. Output: what the venues would send, and the record of
what was sent. Shares no code with `crossfeed.venues`, `integrity` or `books`.
"""

from crossfeed.simulator.clock import ManualClock, SystemClock
from crossfeed.simulator.faults import FaultRule, Schedule, load_schedule
from crossfeed.simulator.ledger import GapRecord, Ledger, Line
from crossfeed.simulator.process import SimulatorOptions, run_simulator
from crossfeed.simulator.simulator import Simulator

__all__ = [
    "FaultRule",
    "GapRecord",
    "Ledger",
    "Line",
    "ManualClock",
    "Schedule",
    "Simulator",
    "SimulatorOptions",
    "SystemClock",
    "load_schedule",
    "run_simulator",
]

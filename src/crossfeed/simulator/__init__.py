"""Beside the stages: the venues' protocols served over real sockets, with a ledger of the truth.

Input: a seed, a rate and a fault schedule. Output: what the venues would send, and the record of
what was sent. Shares no code with `crossfeed.venues`, `integrity` or `books`.
"""

from crossfeed.simulator.ledger import Ledger
from crossfeed.simulator.simulator import Simulator

__all__ = ["Ledger", "Simulator"]

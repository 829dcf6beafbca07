import cProfile
import pstats
import time
from datetime import date

from data.checks import check_ledger
from data.simulate import simulate_ledger

s = simulate_ledger(2000, 36, seed=7)
pr = cProfile.Profile()
pr.enable()
t = time.time()
check_ledger(s.ledger, today=date(2026, 1, 1))
print(time.time() - t)
pr.disable()
pstats.Stats(pr).sort_stats("cumtime").print_stats(25)

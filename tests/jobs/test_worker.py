import subprocess
import sys

import numpy as np

PROGRAM = "from jobs.worker import peak_rss_bytes; print(peak_rss_bytes())"


def test_peak_memory_is_the_processes_own():
    large = np.ones(150_000_000)  # 1.2 GB here are not theirs
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert 20e6 < int(found.stdout) < 0.8 * large.nbytes

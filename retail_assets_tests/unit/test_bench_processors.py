"""Where the processors' time went, as a benchmark says it."""

import subprocess
import sys
import time

import psutil

from retail_assets.bench.processors import Processors

SPIN = "import sys; sys.stdin.readline()\nwhile True: pass"


def test_the_time_of_a_process_is_its_own_and_is_told_apart_from_that_of_others() -> None:
    with subprocess.Popen([sys.executable, "-c", SPIN], stdin=subprocess.PIPE) as busy:
        try:
            assert busy.stdin is not None
            with Processors(busy.pid) as waiting:
                pass
            busy.stdin.write(b"go\n")
            busy.stdin.close()
            with Processors(busy.pid) as spinning:
                while psutil.Process(busy.pid).cpu_times().user < 0.2:
                    time.sleep(0.05)
        finally:
            busy.kill()
    assert waiting.cores["own"] < spinning.cores["own"]
    assert spinning.cores["compiling"] == 0
    assert set(spinning.cores) == {"own", "compiling", "others", "idle"}

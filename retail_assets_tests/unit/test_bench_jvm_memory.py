"""The heap that `jcmd` reports."""

from retail_assets.bench.jvm_memory import Heap, heap_of

REPORT = """4242:
 garbage-first heap   total 524288K, used 262144K [0x0000000080000000, 0x0000000100000000)
  region size 1024K, 12 young (12288K), 3 survivors (3072K)
 Metaspace       used 98304K, committed 99000K, reserved 1130496K
  class space    used 12000K, committed 12300K, reserved 1048576K
"""


def test_the_heap_is_told_from_metaspace() -> None:
    assert heap_of(REPORT) == Heap(used_mb=256, taken_mb=512)


def test_a_report_without_a_heap_tells_nothing() -> None:
    assert heap_of("4242:\n Command executed successfully\n") is None

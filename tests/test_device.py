"""What a process does once to compute fast."""

import platform
import subprocess
import sys

import pytest

NUM_FAULTS = """
import resource, torch
from trainables.training.device import keep_freed_memory

def use_images():
    images = [torch.ones(4 << 20) for _ in range(8)]  # 128 MB

def num_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def rounds():
    use_images()
    before = num_faults()
    use_images()
    return num_faults() - before

before = rounds()
keep_freed_memory()
print(before, rounds())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of glibc")
def test_the_memory_of_one_step_is_used_again_by_the_next() -> None:
    words = [sys.executable, "-c", NUM_FAULTS]  # a process of its own: other tests leave their marks on the heap
    before, after = map(int, subprocess.run(words, check=True, capture_output=True, text=True).stdout.split())
    assert before > 50  # 32,768 pages of 4 kB, 64 of 2 MB
    assert after < before / 2

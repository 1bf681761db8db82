"""What a process does once to compute fast."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.cpu import cpu_fields
from trainables.training.device import multiplies_bfloat16_faster

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


@pytest.mark.parametrize(
    ("vendor", "features", "faster"),
    [
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16 amx_tile", True),
        ("GenuineIntel", "avx512f avx512vl avx512bw avx512dq avx512_bf16", False),
        ("GenuineIntel", "avx512f avx512vl avx512bw avx512dq", False),
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx2 fma", False),
    ],
)
def test_bfloat16_is_chosen_where_the_processor_multiplies_it_faster(vendor: str, features: str, faster: bool):
    assert multiplies_bfloat16_faster({"vendor_id": vendor, "flags": features}) is faster


def test_an_arm_processor_names_bfloat16_among_its_features_and_an_unknown_one_computes_in_float32():
    assert multiplies_bfloat16_faster({"processor": "0", "Features": "fp asimd bf16"})
    assert not multiplies_bfloat16_faster({"processor": "0", "Features": "fp asimd"})
    assert not multiplies_bfloat16_faster({})


def test_the_fields_of_the_first_processor_are_read_and_a_system_without_them_has_none(tmp_path: Path):
    described = tmp_path / "cpuinfo"
    described.write_text("processor\t: 0\nmodel name\t: Xeon: fast\n\nprocessor\t: 1\nmodel name\t: other\n")
    assert cpu_fields(described) == {"processor": "0", "model name": "Xeon: fast"}
    assert cpu_fields(tmp_path / "none") == {}

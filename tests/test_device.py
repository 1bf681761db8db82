"""What a process does once to compute fast."""

import platform
import resource

import pytest
import torch

from trainables.device import keep_freed_memory


def use_images() -> None:
    """Fills 128 MB and gives them back."""
    images = [torch.ones(4 << 20) for _ in range(8)]
    assert len(images) == 8


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of glibc")
def test_the_memory_of_one_step_is_used_again_by_the_next() -> None:
    keep_freed_memory()
    for _ in range(3):  # until the heap has grown around what other tests left in it
        use_images()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        use_images()
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 4 * (128 << 20) / 4096 / 2
    )  # all, without the setting

"""What this machine's CPU is good at."""

import torch


def has_fast_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 at least as quickly as float32.

    With less than AVX512 torch's product is a plain loop: up to 5x slower than float32 where that
    was switched off.
    """
    return torch.backends.cpu.get_cpu_capability() == "AVX512"

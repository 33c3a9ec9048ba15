"""The task sizes that Fargate has, and the nearest ones to a size that it has not. Knows no model.

Source: the parameter `cpu` of RegisterTaskDefinition in the ECS API reference (Linux, platform version 1.4.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from inference_operator.api.quantities import Cpu, Memory


@dataclass(frozen=True, order=True)
class Size:
    cpu: Cpu
    memory: Memory

    def __str__(self) -> str:
        return f"cpu {self.cpu} with memory {self.memory}"


def _sizes(cpu: str, memories_in_mib: range | tuple[int, ...]) -> list[Size]:
    texts = (f"{mib // 1024}Gi" if mib % 1024 == 0 else f"{mib}Mi" for mib in memories_in_mib)
    return [Size(Cpu.parse(cpu), Memory.parse(text)) for text in texts]


SIZES: Final[tuple[Size, ...]] = (
    *_sizes("0.25", (512, 1024, 2048)),
    *_sizes("0.5", range(1024, 4096 + 1, 1024)),
    *_sizes("1", range(2048, 8192 + 1, 1024)),
    *_sizes("2", range(4096, 16384 + 1, 1024)),
    *_sizes("4", range(8192, 30720 + 1, 1024)),
    *_sizes("8", range(16384, 61440 + 1, 4096)),
    *_sizes("16", range(32768, 122880 + 1, 8192)),
)
"""Every valid size, by cpu, then by memory."""

SMALLEST: Final = SIZES[0]
LARGEST: Final = SIZES[-1]


def is_valid(cpu: Cpu, memory: Memory) -> bool:
    return Size(cpu, memory) in SIZES


def nearest(cpu: Cpu, memory: Memory) -> tuple[Size, ...]:
    """The largest size that is no larger than asked and the smallest that is no smaller, in that order.

    What is beyond either end of the table counts as that end. One size where both are the same.
    """
    cpu = min(max(cpu, SMALLEST.cpu), LARGEST.cpu)
    memory = min(max(memory, SMALLEST.memory), LARGEST.memory)
    below = next(size for size in reversed(SIZES) if size.cpu <= cpu and size.memory <= memory)
    above = next(size for size in SIZES if size.cpu >= cpu and size.memory >= memory)
    return (below,) if below == above else (below, above)


def refusal(cpu: Cpu, memory: Memory) -> str:
    """What to tell someone who asked for a size that does not exist."""
    choices = " or ".join(str(size) for size in nearest(cpu, memory))
    return f"Fargate has no size of {Size(cpu, memory)}; the nearest: {choices}"

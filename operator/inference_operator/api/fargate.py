"""The task sizes that Fargate has, and the nearest ones to a size that it has not. Knows no model.

Source: the parameter `cpu` of RegisterTaskDefinition in the ECS API reference (Linux, platform version 1.4.0).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
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


def rule(cpu: str, memory: str) -> dict[str, str]:
    """`is_valid` and `refusal` as a CEL rule over two int-or-string expressions.

    A text that is no quantity is left to the field's own rule. Written without searching lists of texts, since the API
    server takes what comes out of a list to be boundless, and a message made of it for too costly.
    """
    quantities = f"string({cpu}), string({memory})".split(", ")
    is_quantity = " && ".join(f"isQuantity({text})" for text in quantities)
    cpu_number, memory_number = (f"[quantity({text}).asApproximateFloat()]" for text in quantities)
    below, above = _first(reversed(SIZES), ">=", SMALLEST), _first(SIZES, "<=", LARGEST)
    return {
        "rule": f"!({is_quantity}) || {cpu_number}.exists(c, {memory_number}.exists(m, {_table(clamped=False)}))",
        "messageExpression": f"{cpu_number}.map(c, {memory_number}.map(m,"
        f" 'Fargate has no size of cpu ' + string({cpu}) + ' with memory ' + string({memory})"
        f" + '; the nearest: ' + ({below}) + ({_table(clamped=True)} ? '' : ' or ' + ({above}))"
        ")[0])[0]",
    }


def _number(amount: Cpu | Memory) -> str:
    """In CEL: vCPUs or bytes, as a double."""
    return repr(amount.millis / 1000 if isinstance(amount, Cpu) else float(amount.bytes))


def _first(sizes: Iterable[Size], asked: str, last: Size) -> str:
    """CEL for the first of `sizes` that the `asked` c and m compare with so; an end of the table counts as reached."""

    def compared(name: str, amount: Cpu | Memory, end: Cpu | Memory) -> str:
        return "true" if amount == end else f"{name} {asked} {_number(amount)}"

    chain = (
        f"{compared('c', size.cpu, last.cpu)} && {compared('m', size.memory, last.memory)} ? '{size}' : "
        for size in sizes
        if size != last
    )
    return "".join(chain) + f"'{last}'"


def _table(*, clamped: bool) -> str:
    """CEL for "c and m are a size"; `clamped`: where what is beyond an end of the table counts as that end."""
    rows = []
    for cpu, sizes in itertools.groupby(SIZES, key=lambda size: size.cpu):
        memories = [size.memory for size in sizes]
        cpu_fits = [f"c == {_number(cpu)}"]
        memory_fits = [f"m in [{', '.join(_number(memory) for memory in memories)}]"]
        if clamped:
            cpu_fits += [f"c < {_number(cpu)}"] * (cpu == SMALLEST.cpu) + [f"c > {_number(cpu)}"] * (cpu == LARGEST.cpu)
            memory_fits += [f"m < {_number(SMALLEST.memory)}"] * (SMALLEST.memory in memories)
            memory_fits += [f"m > {_number(LARGEST.memory)}"] * (LARGEST.memory in memories)
        rows.append(f"({' || '.join(cpu_fits)}) && ({' || '.join(memory_fits)})")
    return f"({' || '.join(rows)})"

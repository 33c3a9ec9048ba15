from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_operator.api.fargate import LARGEST, SIZES, SMALLEST, Size, is_valid, nearest, refusal
from inference_operator.api.quantities import Cpu, Memory

# RegisterTaskDefinition, parameter `cpu`: units → the memory, in MiB, that may go with it: first, last, step.
DOCUMENTED = {
    512: (1024, 4096, 1024),
    1024: (2048, 8192, 1024),
    2048: (4096, 16384, 1024),
    4096: (8192, 30720, 1024),
    8192: (16384, 61440, 4096),
    16384: (32768, 122880, 8192),
}

CPUS = st.integers(0, 40_000).map(lambda millis: Cpu.parse(f"{millis}m"))
MEMORIES = st.integers(0, 200 * 1024).map(lambda mib: Memory.parse(f"{mib}Mi"))


def size(cpu: str, memory: str) -> Size:
    return Size(Cpu.parse(cpu), Memory.parse(memory))


def test_the_table_is_the_documented_one() -> None:
    documented = {(256, 512), (256, 1024), (256, 2048)}
    for units, (first, last, step) in DOCUMENTED.items():
        documented |= {(units, mib) for mib in range(first, last + 1, step)}
    assert {(size.cpu.units, size.memory.mib) for size in SIZES} == documented
    assert list(SIZES) == sorted(SIZES)


def test_a_valid_size_may_be_written_in_any_way() -> None:
    assert is_valid(Cpu.parse("500m"), Memory.parse(2**30))
    assert is_valid(Cpu.parse("0.500"), Memory.parse("1024Mi"))
    assert not is_valid(Cpu.parse("0.25"), Memory.parse("1536Mi"))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("3", "5Gi"), (size("2", "5Gi"), size("4", "8Gi"))),
        (("1", "10Gi"), (size("1", "8Gi"), size("2", "10Gi"))),
        (("1", "1Gi"), (size("0.5", "1Gi"), size("1", "2Gi"))),
        (("8", "17Gi"), (size("8", "16Gi"), size("8", "20Gi"))),
        (("0.25", "1536Mi"), (size("0.25", "1Gi"), size("0.25", "2Gi"))),
        (("16", "200Gi"), (size("16", "120Gi"),)),
        (("100m", "1Gi"), (size("0.25", "1Gi"),)),
        (("32", "256Mi"), (size("0.25", "512Mi"), size("16", "32Gi"))),
    ],
)
def test_the_nearest_sizes_are_the_next_below_and_the_next_above(
    asked: tuple[str, str], expected: tuple[Size, ...]
) -> None:
    assert nearest(Cpu.parse(asked[0]), Memory.parse(asked[1])) == expected


@given(CPUS, MEMORIES)
def test_between_the_nearest_sizes_and_what_was_asked_there_is_no_other(cpu: Cpu, memory: Memory) -> None:
    below, above = nearest(cpu, memory)[0], nearest(cpu, memory)[-1]
    cpu = min(max(cpu, SMALLEST.cpu), LARGEST.cpu)
    memory = min(max(memory, SMALLEST.memory), LARGEST.memory)
    assert below.cpu <= cpu <= above.cpu
    assert below.memory <= memory <= above.memory
    for other in SIZES:
        fits_below = other.cpu <= cpu and other.memory <= memory
        fits_above = other.cpu >= cpu and other.memory >= memory
        assert not (fits_below and other.cpu >= below.cpu and other.memory >= below.memory) or other == below
        assert not (fits_above and other.cpu <= above.cpu and other.memory <= above.memory) or other == above


@given(st.sampled_from(SIZES))
def test_a_valid_size_is_its_own_only_neighbour(valid: Size) -> None:
    assert nearest(valid.cpu, valid.memory) == (valid,)


def test_a_refusal_names_what_was_given_and_what_would_do() -> None:
    assert refusal(Cpu.parse(3), Memory.parse("5120Mi")) == (
        "Fargate has no size of cpu 3 with memory 5120Mi; the nearest: cpu 2 with memory 5Gi or cpu 4 with memory 8Gi"
    )

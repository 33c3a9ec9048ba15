from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from inference_operator.api.quantities import Cpu, Memory, Time, format_duration, parse_duration


@pytest.mark.parametrize(
    ("given_as", "millis", "units"),
    [("250m", 250, 256), ("0.25", 250, 256), (2, 2000, 2048), ("16", 16000, 16384), ("1.5", 1500, 1536)],
)
def test_cpu_is_read_in_millis_and_in_units_of_ecs(given_as: object, millis: int, units: int) -> None:
    cpu = Cpu.parse(given_as)
    assert (cpu.millis, cpu.units) == (millis, units)


@pytest.mark.parametrize(
    ("given_as", "amount", "mib"),
    [
        ("512Mi", 512 * 2**20, 512),
        ("1.5Gi", 1536 * 2**20, 1536),
        (2**31, 2**31, 2048),
        ("2G", 2 * 10**9, 1908),
        ("0.001k", 1, 1),
        ("1Ti", 2**40, 2**20),
    ],
)
def test_memory_is_read_in_bytes_and_rounded_up_to_mebibytes(given_as: object, amount: int, mib: int) -> None:
    memory = Memory.parse(given_as)
    assert (memory.bytes, memory.mib) == (amount, mib)


def test_an_amount_keeps_its_text_and_compares_by_its_value() -> None:
    assert str(Memory.parse("2048Mi")) == "2048Mi"
    assert Memory.parse("2048Mi") == Memory.parse("2Gi") == Memory.parse(2**31)
    assert len({Cpu.parse("1"), Cpu.parse(1), Cpu.parse("1000m")}) == 1
    assert Cpu.parse("500m") < Cpu.parse("1")


@pytest.mark.parametrize("bad", ["", "1,5", "one", "-1", "+1", "1e3", "0.0001", True, 1.5, None, [1], "1 Gi", "9" * 16])
def test_what_is_no_amount_is_refused_with_what_would_be(bad: object) -> None:
    with pytest.raises(ValueError, match="must be a number of vCPUs, not"):
        Cpu.parse(bad)
    with pytest.raises(ValueError, match="must be an amount of memory with its unit"):
        Memory.parse(bad)


def test_what_a_task_definition_has_for_it_is_no_amount() -> None:
    """In 1024th parts and in MiB: as a policy's maximum, 4096 vCPUs would be no limit, and 16384 bytes forbid all."""
    for units in (128, "256", 1024, 4096):
        with pytest.raises(ValueError, match="not of their 1024th parts"):
            Cpu.parse(units)
    for mebibytes in (6, 512, "2048", 122880):
        with pytest.raises(ValueError, match="with its unit"):
            Memory.parse(mebibytes)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1h0m1s", 3601), ("0s", 0), ("120m", 7200)]
)
def test_a_duration_is_read_as_kubernetes_writes_it(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("bad", ["", "10", "m", "1.5h", "30m1h", "1d", "-1m", "1h 30m", "1H"])
def test_any_other_duration_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="such as 90s, 10m or 1h30m"):
        parse_duration(bad)


@given(st.integers(0, 10**9))
def test_a_duration_is_written_as_it_can_be_read(seconds: int) -> None:
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


def test_a_time_is_told_in_utc_and_whole_seconds() -> None:
    time: TypeAdapter[datetime] = TypeAdapter(Time)
    tokyo = datetime(2026, 11, 24, 18, 30, 0, 999_999, tzinfo=timezone(timedelta(hours=9)))
    assert time.dump_python(time.validate_python(tokyo), mode="json") == "2026-11-24T09:30:00Z"
    assert time.validate_python("2026-11-24T09:30:00Z") == datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


def test_a_time_without_a_zone_is_refused() -> None:
    time: TypeAdapter[datetime] = TypeAdapter(Time)
    with pytest.raises(ValidationError, match="needs its zone"):
        time.validate_python("2026-11-24T09:30:00")

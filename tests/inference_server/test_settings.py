"""The configuration by environment variables, the cgroup's share of it, and the uWSGI configuration made from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference_server.cgroup import cpu_quota, cpus
from inference_server.settings import Settings, SettingsError, load_settings
from inference_server.uwsgi_config import uwsgi_ini


def load(**variables: str) -> Settings:
    return load_settings({"PATH": "/bin", **variables})


def test_the_defaults_listen_on_every_interface_with_at_least_two_workers() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.models_dir) == ("0.0.0.0", 8080, Path("/models"))
    assert settings.workers >= 2
    assert settings.drain_seconds + settings.grace_seconds < 30


def test_an_unknown_variable_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"INFERENCE_WORKER is not a setting; did you mean INFERENCE_WORKERS\?"):
        load(INFERENCE_WORKER="3")


def test_every_fault_is_named_with_its_value() -> None:
    with pytest.raises(SettingsError) as caught:
        load(INFERENCE_PORT="80800", INFERENCE_LOG_LEVEL="LOUD", INFERENCE_DRAIN="1")
    text = str(caught.value)
    assert "INFERENCE_PORT is '80800'" in text
    assert "65535" in text
    assert "INFERENCE_LOG_LEVEL is 'LOUD'" in text
    assert "INFERENCE_DRAIN_SECONDS" in text


def test_variables_of_the_programs_beside_it_are_left_alone() -> None:
    load(INFERENCE_OPERATOR_RESYNC="5", INFERENCE_SANDBOX_HOME="/x")


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert load(INFERENCE_PORT="").port == 8080


def test_pins_of_unsafe_models_are_read_and_checked() -> None:
    digest = "0123456789abcdef" * 4
    pins = load(INFERENCE_UNSAFE_MODELS=f"churn/3={digest}, b/1={digest},").unsafe_models
    assert pins == {"churn/3": digest, "b/1": digest}
    with pytest.raises(SettingsError, match="'churn/3=abc' is not of the form"):
        load(INFERENCE_UNSAFE_MODELS="churn/3=abc")


@pytest.mark.parametrize("name", [name for name, field in Settings.model_fields.items() if "float" in str(field)])
@pytest.mark.parametrize("number", ["inf", "nan"])
def test_a_number_that_is_none_is_refused(name: str, number: str) -> None:
    """JSON, by which the settings come to the server's processes, has none of them."""
    with pytest.raises(SettingsError, match=f"INFERENCE_{name.upper()} is '{number}': Input should be"):
        load(**{f"INFERENCE_{name.upper()}": number})


def test_the_hard_timeout_is_beyond_the_deadline() -> None:
    with pytest.raises(SettingsError, match="INFERENCE_HARD_TIMEOUT_SECONDS is 20: it must be more than"):
        load(INFERENCE_HARD_TIMEOUT_SECONDS="20")


@pytest.mark.parametrize(
    ("content", "quota"), [("50000 100000", 0.5), ("max 100000", None), ("junk", None), ("", None)]
)
def test_the_quota_of_cgroup_v2(tmp_path: Path, content: str, quota: float | None) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert cpu_quota(tmp_path) == quota


@pytest.mark.parametrize(("content", "quota"), [("150000", 1.5), ("-1", None)])
def test_the_quota_of_cgroup_v1(tmp_path: Path, content: str, quota: float | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(content)
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert cpu_quota(tmp_path) == quota


def test_half_a_cpu_is_planned_as_one_and_no_quota_as_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert cpus(tmp_path) == 8
    (tmp_path / "cpu.max").write_text("50000 100000")
    assert cpus(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("350000 100000")
    assert cpus(tmp_path) == 4


def test_the_uwsgi_configuration_closes_connections_aloud_and_drains() -> None:
    lines = uwsgi_ini(load(INFERENCE_WORKERS="5")).splitlines()
    assert lines[0] == "[uwsgi]"
    assert "add-header = Connection: close" in lines
    assert "processes = 5" in lines
    assert "hook-master-start = unix_signal:15 gracefully_kill_them_all" in lines

"""Which generation of the server serves, decided without any process."""

from __future__ import annotations

import pytest

from inference_server.generations import (
    AFTER_FORK,
    Exit,
    Generations,
    Reply,
    Request,
    Start,
    Stop,
    Trouble,
    describe,
)

LOAD_A = Request("1", "load", "a")
UNLOAD_B = Request("2", "unload", "b")


def serving() -> Generations:
    generations = Generations()
    generations.start()
    generations.on_up(1)
    return generations


def test_the_first_generation_starts_with_nothing_held_back() -> None:
    assert Generations().start() == [Start(1, {})]


def test_a_change_starts_another_generation_and_stops_the_old_one_once_it_is_up() -> None:
    generations = serving()
    assert generations.on_request(UNLOAD_B) == [Start(2, {}, ("b",))]
    assert generations.on_up(2) == [Stop(1), Reply("2", None)]
    assert generations.on_exit(1, 0, Trouble()) == []
    assert generations.on_request(Request("3", "load", "b")) == [Start(3, {}, wanted=("b",))]


def test_an_old_generation_that_ends_while_another_starts_fails_no_change() -> None:
    generations = serving()
    generations.on_request(UNLOAD_B)
    generations.on_up(2)
    generations.on_request(LOAD_A)
    assert generations.on_exit(1, 0, Trouble()) == []
    assert generations.on_up(3) == [Stop(2), Reply("1", None)]


def test_a_worker_that_comes_up_again_is_no_other_generation() -> None:
    generations = serving()
    assert generations.on_up(1) == []
    assert generations.serving == 1


def test_a_change_whose_generation_ends_unexpectedly_is_told_how_it_ended() -> None:
    generations = serving()
    generations.on_request(LOAD_A)
    assert generations.on_exit(2, -6, Trouble()) == [Reply("1", "the server was killed by SIGABRT while it started")]


def test_changes_that_come_while_one_starts_wait_and_go_together() -> None:
    generations = serving()
    generations.on_request(UNLOAD_B)
    assert generations.on_request(LOAD_A) == []
    assert generations.on_request(Request("3", "unload", "c")) == []
    assert generations.on_up(2) == [Stop(1), Reply("2", None), Start(3, {}, ("b", "c"), ("a",))]
    assert generations.on_up(3) == [Stop(2), Reply("1", None), Reply("3", None)]


def test_a_change_that_is_refused_leaves_the_old_generation_and_is_forgotten() -> None:
    generations = serving()
    generations.on_request(UNLOAD_B)
    assert generations.on_exit(2, 70, Trouble(refused="a is corrupt")) == [Reply("2", "a is corrupt")]
    assert generations.serving == 1
    assert generations.on_request(LOAD_A) == [Start(3, {}, wanted=("a",))]


def test_a_version_that_kills_the_server_is_left_out_with_the_reason() -> None:
    generations = Generations()
    generations.start()
    reason = "the server was killed by SIGABRT while it loaded this version"
    assert generations.on_exit(1, -6, Trouble(loading="a/1")) == [Start(2, {"a/1": reason})]
    other = "the server ended with exit code 3 while it loaded this version"
    assert generations.on_exit(2, 3, Trouble(loading="b/2")) == [Start(3, {"a/1": reason, "b/2": other})]
    assert generations.on_up(3) == []


def test_a_version_that_takes_too_much_memory_is_left_out_with_a_hint() -> None:
    generations = Generations()
    generations.start()
    (start,) = generations.on_exit(1, -9, Trouble(loading="a/1"))
    assert isinstance(start, Start)
    assert "killed by SIGKILL while it loaded this version, as the kernel does" in start.quarantine["a/1"]


def test_versions_that_start_threads_are_loaded_after_the_fork() -> None:
    generations = Generations()
    generations.start()
    assert generations.on_exit(1, 70, Trouble(threads=["a/1", "b/1"])) == [
        Start(2, {"a/1": AFTER_FORK, "b/1": AFTER_FORK})
    ]


def test_the_same_trouble_twice_is_the_end_and_not_a_loop() -> None:
    generations = Generations()
    generations.start()
    generations.on_exit(1, -6, Trouble(loading="a/1"))
    assert generations.on_exit(2, -6, Trouble(loading="a/1")) == [Exit(-6)]


def test_a_change_looks_anew_at_what_failed_before() -> None:
    generations = Generations()
    generations.start()
    generations.on_exit(1, -6, Trouble(loading="a/1"))
    generations.on_up(2)
    assert generations.on_request(LOAD_A) == [Start(3, {}, wanted=("a",))]
    assert isinstance(generations.on_exit(3, -6, Trouble(loading="a/1"))[0], Start)


def test_a_generation_that_ends_while_it_serves_is_the_end() -> None:
    assert serving().on_exit(1, -11, Trouble()) == [Exit(-11)]


def test_a_first_generation_that_does_not_come_up_is_the_end() -> None:
    generations = Generations()
    generations.start()
    assert generations.on_exit(1, 22, Trouble()) == [Exit(22)]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with exit code 0"),
        (-9, "was killed by SIGKILL"),
        (-64, "was killed by SIGRTMAX"),
        (-99, "by signal 99"),
    ],
)
def test_an_end_is_described(status: int, words: str) -> None:
    assert words in describe(status)

"""The first host's port, and what becomes of a host that finds it taken or foreign."""

import socket
import threading
from contextlib import suppress

import pytest

from connections import First, Others, connect, open_port
from handshake import Meeting, Refused
from processes import Stop
from waiting import wait_for

MEETING = Meeting("training", 2, b"the key")


@pytest.fixture
def others():
    """Hosts that may come to a port of this machine, and the port."""
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    others = Others(MEETING)
    others.listen(port)
    return others, First("localhost", port)


def come(first, meeting=MEETING):
    connection = connect(first, meeting, 1, 20, Stop())
    assert connection is not None
    return connection


def test_a_taken_port_is_told_in_a_sentence():
    with (
        socket.create_server(("", 0)) as server,
        pytest.raises(SystemExit, match=r"port \d+ of .*in use; .* DCR_PORT"),
    ):
        open_port(server.getsockname()[1])


@pytest.mark.parametrize("words", [b"1\n", b"1\nstop\n", b"", b"\n" * 1000])
def test_one_that_proves_nothing_is_no_host_and_cannot_stop_the_step(others, words):
    others, first = others
    with (
        socket.create_connection((first.head, first.port)) as stranger,
        suppress(OSError),  # it may be hung up on meanwhile
    ):
        stranger.sendall(words)
        stranger.shutdown(socket.SHUT_WR)
        while stranger.recv(1000):
            pass
    assert not others.are_here()
    assert not others.asks_to_stop
    assert others.num_lost == 0


def test_a_host_of_the_step_is_here_until_it_goes(others):
    others, first = others
    with come(first) as connection:
        wait_for(others.are_here)
        connection.sendall(b"stop\n")
        wait_for(lambda: others.asks_to_stop)
    wait_for(lambda: others.num_lost == 1)
    assert not others.are_here()


def test_one_that_is_started_again_takes_its_own_place(others):
    others, first = others
    with come(first) as before:
        wait_for(others.are_here)
        with come(first):
            wait_for(lambda: others.num_lost == 1)
            assert before.recv(1) == b""
            assert others.are_here()


def test_one_of_another_recipe_is_told_so(others):
    others, first = others
    with pytest.raises(Refused, match="start all of them with one command"):
        come(first, Meeting("validation", 2, b"the key"))
    assert not others.are_here()


def test_something_else_on_the_port_is_no_first_host():
    """Another service's greeting, as on a port that DCR_PORT names by mistake."""
    with socket.create_server(("localhost", 0)) as server:

        def greet():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                connection.recv(1)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(Refused):
            come(First("localhost", server.getsockname()[1]))
        thread.join()


@pytest.mark.parametrize("name", ["no.such.host.invalid", "a..b", "x" * 64])
def test_a_name_that_leads_nowhere_is_told_with_the_reason(capfd, name):
    assert connect(First(name, 1), MEETING, 1, 0.1, Stop()) is None
    assert f"{name}:1 did not answer within 0.1 seconds (" in capfd.readouterr().err

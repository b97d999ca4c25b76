"""The relay by itself: what passes through it, and what happens when one of the ends does not."""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import redis

from tests.support.relay import Relay, order
from tests.support.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.support.certificates import Certificates

MANY = 2000


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    with Relay(tmp_path / "relay.sock") as relay:
        yield relay


def test_bytes_pass_and_are_counted(relay: Relay, server: ServerFactory, free_ports: int) -> None:
    one = server("redis-7.0")
    assert relay.forward(free_ports, one.port)["done"]["changed"]
    assert not relay.forward(free_ports, one.port)["done"]["changed"]
    with redis.Redis(port=free_ports) as client:
        value = bytes(range(256)) * (1 << 17)  # 32 MiB: far more than fits into any buffer
        client.set("large", value)
        assert client.get("large") == value
        pipeline = client.pipeline(transaction=False)
        for n in range(5000):
            pipeline.incrby("counter", n)
        assert pipeline.execute()[-1] == sum(range(5000))
        [connection] = relay.connections()
        assert min(connection["sent"], connection["received"]) >= len(value)
        assert connection["idle"] < 60
    eventually(lambda: relay.connections() == [], "it is gone")


def test_a_client_that_ends_its_side_gets_the_rest(relay: Relay, free_ports: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay.forward(free_ports, listener.getsockname()[1])
        with socket.create_connection(("127.0.0.1", free_ports), timeout=10) as client:
            server, _ = listener.accept()
            with server, server.makefile("rb") as asked:
                client.sendall(b"question")
                client.shutdown(socket.SHUT_WR)
                assert asked.read() == b"question"
                server.sendall(b"answer")
                server.shutdown(socket.SHUT_WR)
                with client.makefile("rb") as answers:
                    assert answers.read() == b"answer"
    eventually(lambda: relay.connections() == [], "both ends are closed")


def test_a_target_that_goes_away(relay: Relay, server: ServerFactory, free_ports: int) -> None:
    """Its clients are cut, who comes is sent away at once, and all is well when it is back."""
    one = server("redis-7.0")
    relay.forward(free_ports, one.port)
    with redis.Redis(port=free_ports) as client:
        assert client.ping()
        one.kill()
        with pytest.raises(redis.ConnectionError):
            client.execute_command("PING", retry=False)
        with socket.create_connection(("127.0.0.1", free_ports), timeout=10) as late:
            assert late.recv(1) == b""
        assert order(relay.path, do="status")["done"]["failed"] >= 1
        one.start()
        assert client.ping()


def test_who_comes_early_waits_and_is_let_in(
    relay: Relay, server: ServerFactory, free_ports: int
) -> None:
    one = server("redis-7.0")
    relay.forward(free_ports, one.port, open=False)
    with ThreadPoolExecutor() as pool, redis.Redis(port=free_ports, socket_timeout=20) as client:
        ping = pool.submit(client.ping)
        with pytest.raises(TimeoutError):
            ping.result(timeout=0.3)
        relay.forward(free_ports, one.port)
        assert ping.result(timeout=10)
        order(relay.path, do="close")
        assert client.ping(), "who is in stays"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", free_ports))


def test_two_thousand_connections(relay: Relay, server: ServerFactory, free_ports: int) -> None:
    one = server("redis-7.0", maxclients=MANY + 100)
    if order(relay.path, do="status")["done"]["most"] < MANY:
        pytest.skip("this machine's limit of open files is too low")
    relay.forward(free_ports, one.port)
    sockets = [socket.create_connection(("127.0.0.1", free_ports), timeout=20) for _ in range(MANY)]
    try:
        for each in sockets:
            each.sendall(b"PING\r\n")
        assert {each.recv(7) for each in sockets} == {b"+PONG\r\n"}
        assert len(relay.connections()) == MANY
    finally:
        for each in sockets:
            each.close()
    eventually(lambda: relay.connections() == [], "all are gone")


def test_at_the_limit_of_files_new_ones_wait(
    tmp_path: Path, server: ServerFactory, free_ports: int
) -> None:
    one = server("redis-7.0")
    with Relay(tmp_path / "small.sock", files=84) as relay:
        most = relay.forward(free_ports, one.port)["done"]["most"]
        assert most == 10
        address = ("127.0.0.1", free_ports)
        sockets = [socket.create_connection(address, timeout=10) for _ in range(most + 3)]
        for each in sockets:
            each.sendall(b"PING\r\n")
        assert {each.recv(7) for each in sockets[:most]} == {b"+PONG\r\n"}
        status = order(relay.path, do="status")["done"]
        assert (status["full"], status["taken"]) == (True, most)
        assert "limit of open files" in relay.log()
        for each in sockets[:most]:
            each.close()
        assert {each.recv(7) for each in sockets[most:]} == {b"+PONG\r\n"}
        for each in sockets[most:]:
            each.close()


def test_tls_passes_untouched(
    relay: Relay, server: ServerFactory, certificates: Certificates, free_ports: int
) -> None:
    one = server("redis-7.0", tls=certificates)
    relay.forward(free_ports, one.port)
    context = ssl.create_default_context(cafile=str(certificates.ca))
    context.load_cert_chain(str(certificates.client), str(certificates.client_key))
    with redis.Redis(
        port=free_ports,
        ssl=True,
        ssl_ca_certs=str(certificates.ca),
        ssl_certfile=str(certificates.client),
        ssl_keyfile=str(certificates.client_key),
    ) as client:
        assert client.set("key", "x" * 1_000_000)
    with (
        socket.create_connection(("127.0.0.1", one.port), timeout=10) as direct,
        socket.create_connection(("127.0.0.1", free_ports), timeout=10) as led,
        context.wrap_socket(direct, server_hostname="127.0.0.1") as first,
        context.wrap_socket(led, server_hostname="127.0.0.1") as second,
    ):
        assert first.getpeercert(binary_form=True) == second.getpeercert(binary_form=True)


def test_it_ends_by_itself_when_nobody_comes_any_more(
    relay: Relay, server: ServerFactory, free_ports: int
) -> None:
    one = server("redis-7.0")
    with redis.Redis(port=free_ports) as client:
        relay.forward(free_ports, one.port, idle=1)
        assert client.ping()
    assert relay.wait() == 0
    assert "nobody was connected" in relay.log()
    assert not relay.path.exists()


def test_one_that_was_killed_goes_on_where_it_was(
    relay: Relay, server: ServerFactory, free_ports: int
) -> None:
    one = server("redis-7.0")
    relay.forward(free_ports, one.port)
    kept = relay.path.with_suffix(".json")
    eventually(kept.exists, "it is written down")
    relay.kill()
    relay.start()
    with redis.Redis(port=free_ports) as client:
        assert client.ping()
    order(relay.path, do="close")
    relay.kill()
    relay.start()
    assert order(relay.path, do="status")["done"]["ways"] == []


def test_what_is_no_order_is_refused(relay: Relay, free_ports: int) -> None:
    assert "is no order" in order(relay.path, do="dance")["failed"]
    relay.forward(free_ports, free_ports + 1)
    assert order(relay.path, do="status")["done"]["open"]
    assert "forwards something else" in relay.forward(free_ports + 2, free_ports)["failed"]
    with socket.create_server(("127.0.0.1", free_ports + 3)):
        order(relay.path, do="close")
        assert "can't listen" in relay.forward(free_ports + 3, free_ports)["failed"]


def test_it_is_for_its_own_user(relay: Relay) -> None:
    assert relay.path.stat().st_mode & 0o077 == 0

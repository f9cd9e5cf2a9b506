"""Run a service's HTTP side inside an asyncio program, and stop it cleanly."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

from services.runtime.collector import keep_collecting
from services.runtime.errors import OperatorError

GRACE_SECONDS = 3
"""How long open requests (event streams above all) may still run after a stop."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the program owns its signals, see `stop_on_signals`


async def serve(app: ASGIApp, host: str, port: int, stop: asyncio.Event) -> None:
    """Answer HTTP on `host:port` until `stop` is set or the caller is cancelled.

    Raises OperatorError where the port is taken or the address is not this machine's.
    """
    config = uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    with _listen(host, port) as listener:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        stopped = asyncio.create_task(stop.wait())
        collecting = asyncio.create_task(keep_collecting())
        try:
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            collecting.cancel()
            server.should_exit = True
            await running
    if not server.started:
        raise OperatorError(f"the service on {host}:{port} did not start; the log above says why")


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` at the first SIGINT or SIGTERM of the running loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise OperatorError(
            f"cannot listen on {host}:{port} ({reason}): stop what listens there, "
            "or choose another with --port or WEEK12_HOST"
        ) from None

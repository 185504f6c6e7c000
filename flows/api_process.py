"""Prefect's own API as a child process, started by path so that nothing of flowtag is imported into it.

Prefect starts such a server itself when it has none, but only once it is asked for, and it leaves the server behind
when it is killed. This one starts while other work goes on, listens on the socket it is given (its file descriptor is
the argument), prints a line when it is ready, and ends when its standard input closes, whatever became of the parent.
"""

import fcntl
import os
import socket
import sys
import threading
from pathlib import Path

import uvicorn
from prefect.server.api.server import create_app


class _AnnouncedServer(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Set up the database, one server at a time, and say when the API answers, and whether it is the only one."""
        home = Path(os.environ["PREFECT_HOME"])
        with (home / ".starting.lock").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            alone = self._lock_home(home)
            await super().startup(sockets)
        if self.started:
            sys.stdout.write("alone\n" if alone else "ready\n")
            sys.stdout.flush()

    def _lock_home(self, home: Path) -> bool:
        """Share the home until this process ends; return True when nobody else does."""
        self._in_use = (home / ".in-use.lock").open("w")
        try:
            fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alone = False
        else:
            alone = True
        fcntl.flock(self._in_use, fcntl.LOCK_SH)
        return alone


def main() -> None:
    """Serve until standard input closes."""
    app = create_app(ephemeral=True, final=True)
    server = _AnnouncedServer(uvicorn.Config(app, log_level="error", lifespan="on"))
    threading.Thread(target=_stop_with_parent, args=(server,), daemon=True).start()
    server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


def _stop_with_parent(server: uvicorn.Server) -> None:
    os.read(sys.stdin.fileno(), 1)  # a buffered read would hold a lock that the interpreter's end asks for
    server.should_exit = True


if __name__ == "__main__":
    main()

"""The control socket: a Unix socket by which this user's commands reach a running proxy.

Only processes of the user who runs the proxy can connect to it (and root): it has mode 0600, in a folder of mode 0700.
That is more than a loopback address says, at which a server in front may be relaying any client's request.

Its folder is the first of these that can be private: `$RUNTIME_DIRECTORY/control` (systemd),
`$XDG_RUNTIME_DIR/springhouse`, `/run/user/UID/springhouse`, and one below the user's own state folder. Never one in
/tmp, which another user could make first. A socket gets its name there only when it listens and has its mode, so one
that refuses connections is left over from a process that has died.
"""

import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from platformdirs import user_state_dir

from springhouse.endpoint import Endpoint

_BACKLOG = 64
_CONNECT_S = 5.0
_PATH_MAX = 107 if sys.platform == "linux" else 103
"""Bytes that the path of a Unix socket may have."""
_SERVICES = Path("/run/springhouse/control")
"""Where a systemd service with `RuntimeDirectory=springhouse` has it."""


class NoControlSocket(Exception):
    """There can be no control socket; the text says why."""


def opened(url: str) -> Endpoint | None:
    """Return the control socket of the proxy that clients reach at `url`; without one, say so on standard error.

    `url`: as `Endpoint.url`, a path for a Unix socket.
    """
    try:
        return _opened(url)
    except NoControlSocket as why:
        print(f"springhouse: no control socket: {why}. `springhouse purge` needs --token here.", file=sys.stderr)
        return None


def living() -> list[Path]:
    """Return the control sockets that this user's commands can reach, and remove those of processes that have died."""
    found = [path for folder in _folders() if _is_own(folder) for path in sorted(folder.glob("*.sock"))]
    return [path for path in found if path.is_socket() and _lives(path)]


def connected(path: Path, timeout: float) -> socket.socket:
    """Return a connection to a Unix socket. Raises OSError."""
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(timeout)
    try:
        made.connect(str(path))
    except OSError:
        made.close()
        raise
    return made


def _opened(url: str) -> Endpoint:
    if not hasattr(socket, "AF_UNIX") or os.name == "nt":
        raise NoControlSocket("this system has no Unix sockets")
    path = _private_folder() / _name_of(url)
    if len(os.fsencode(path)) > _PATH_MAX:
        raise NoControlSocket(f"{path} is too long for a Unix socket; let XDG_RUNTIME_DIR name a shorter folder")
    if path.is_socket() and _lives(path):
        raise NoControlSocket(f"another process listens on {path}")
    early = path.with_name(f".{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX)
    try:
        early.unlink(missing_ok=True)
        listener.bind(str(early))
        early.chmod(0o600)
        listener.listen(_BACKLOG)
        early.rename(path)
    except OSError as error:
        listener.close()
        early.unlink(missing_ok=True)
        raise NoControlSocket(f"{path}: {error.strerror or error}") from None
    return Endpoint((listener,), path=path, backlog=_BACKLOG)


def _name_of(url: str) -> str:
    if url.startswith("http://"):
        return url.removeprefix("http://") + ".sock"
    return f"unix-{blake2b(os.fsencode(os.path.abspath(url)), digest_size=6).hexdigest()}.sock"


def _folders() -> Iterator[Path]:
    """Yield where control sockets may be, the best place first."""
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        yield Path(given.partition(":")[0], "control")
    if given := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(given, "springhouse")
    if hasattr(os, "geteuid"):
        yield Path(f"/run/user/{os.geteuid()}", "springhouse")
    yield Path(user_state_dir("springhouse", appauthor=False), "control")
    yield _SERVICES


def _private_folder() -> Path:
    """Return the first folder that is, or can be made, this user's alone. Raises NoControlSocket."""
    *here, at_home, _ = _folders()
    for folder in (*here, at_home):
        with suppress(OSError):
            if folder is at_home:
                folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_made_private(folder):
                return folder
    raise NoControlSocket("no folder for it is this user's alone; set XDG_RUNTIME_DIR, or systemd's RuntimeDirectory=")


def _is_made_private(folder: Path) -> bool:
    """Make a folder if it is not there, and private if it is this user's; return whether it is. Raises OSError."""
    if not folder.is_absolute() or folder.parent.stat().st_mode & stat.S_IWOTH:
        return False
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return False
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)
    return True


def _is_own(folder: Path) -> bool:
    """Return whether this user may use what is in a folder: it is this user's, or this user is root."""
    try:
        return folder.lstat().st_uid == os.geteuid() or os.geteuid() == 0
    except (OSError, AttributeError):
        return False


def _lives(path: Path) -> bool:
    """Return whether a process listens on a control socket; one without is removed."""
    try:
        connected(path, _CONNECT_S).close()
    except (ConnectionRefusedError, FileNotFoundError):
        with suppress(OSError):
            path.unlink()
        return False
    except OSError:
        return path.exists()
    return True

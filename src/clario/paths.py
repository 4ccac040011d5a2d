"""Where Clario keeps its files, and how it writes and downloads them: wholly, or not at all."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from clario import __version__
from clario.errors import DownloadError, InputError, OutputError

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where the server tells
_CHUNK = 1 << 16
MIN_RATE = 256  # bytes per second, on average, below which a download counts as stalled


def data_dir() -> Path:
    """The folder of what the user installed, such as releases of HPO. CLARIO_DATA_DIR overrides it."""
    return _folder("CLARIO_DATA_DIR", "user_data_path")


def cache_dir() -> Path:
    """The folder of what can be made or fetched again. CLARIO_CACHE_DIR overrides it."""
    return _folder("CLARIO_CACHE_DIR", "user_cache_path")


def _folder(variable: str, function: str) -> Path:
    if named := os.environ.get(variable):
        return Path(named).expanduser()
    import platformdirs

    folder: Path = getattr(platformdirs, function)("clario", appauthor=False)
    return folder


def aside(path: Path) -> Path:
    """An unused hidden name beside `path`, for what is to take its place."""
    return path.with_name(f".{path.name}.{os.urandom(6).hex()}.part")


def sync_folder(folder: Path) -> None:
    """Make renames within a folder last through a power cut, where the system can do that."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        with suppress(OSError):  # not every file system knows it
            os.fsync(handle)
        os.close(handle)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def write_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that becomes `path` when the block ends without an error, and not before.

    What stood at `path` stays until then, and its permissions are kept. Missing folders are made.

    Raises:
        OutputError: a folder or file cannot be written; any OSError out of the block counts as that.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    if target.exists() and not target.is_file():
        raise OutputError(f"cannot write {path}: it is not a regular file")
    part = aside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            part.chmod(target.stat().st_mode & 0o7777)
        part.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; nothing was changed") from None
    finally:
        with suppress(OSError):
            part.unlink()


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    max_bytes: int,
    timeout: float,
    progress: Progress | None = None,
) -> str:
    """Download a file; `target` appears, or is replaced, only when all of it came and is as expected.

    Args:
        url: an http, https or file URL. A redirect may not leave https, nor lead to other kinds of URL.
        sha256: the expected checksum, in hexadecimal digits.
        size: the expected size in bytes.
        max_bytes: more than this is not fetched.
        timeout: seconds without a byte after which the download is given up. So it is when, after that
            time, less than `MIN_RATE` bytes a second came on average.
        progress: called with each part: bytes so far, and in all (None where the server does not tell).

    Returns:
        The SHA-256 of the file, in hexadecimal digits.

    Raises:
        InputError: another kind of URL.
        DownloadError: not reached, refused, cut, stalled, too large, or not what was expected.
        OutputError: `target` cannot be written.
    """
    import hashlib

    if url.partition(":")[0].lower() not in {"http", "https", "file"}:
        raise InputError(f"{shown(url)} is not a URL that begins with https:, http: or file:")
    limit = max_bytes if size is None else min(size, max_bytes)
    with write_atomically(target) as file:
        digest, count = hashlib.sha256(), 0
        for chunk, total in _fetch(url, timeout, limit):
            file.write(chunk)
            digest.update(chunk)
            count += len(chunk)
            if progress:
                progress(count, total)
        _check(url, digest.hexdigest(), count, sha256, size)
    return digest.hexdigest()


def shown(url: str) -> str:
    """A URL as messages and manifests may name it: without user, password and query."""
    return re.sub(r"(?<=://)[^/]*@", "", re.split(r"[?#]", url, maxsplit=1)[0])


def _check(url: str, found: str, count: int, sha256: str | None, size: int | None) -> None:
    if size is not None and count != size:
        raise DownloadError(f"{shown(url)} has {count:,} bytes where {size:,} were expected; not installed")
    if sha256 is not None and found != sha256.strip().lower():
        raise DownloadError(
            f"{shown(url)} does not have the expected SHA-256 checksum (it has {found}); "
            "try again, and if it stays so, do not trust the file"
        )


class _Response(Protocol):
    """What is used of a response; `read1` returns what has come instead of waiting for a full buffer."""

    def read1(self, n: int, /) -> bytes: ...


def _fetch(url: str, timeout: float, limit: int) -> Iterator[tuple[bytes, int | None]]:
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request

    try:
        request = Request(url, headers={"User-Agent": f"clario/{__version__}"})
        with _opener().open(request, timeout=timeout) as response:
            length = response.headers.get("Content-Length")
            total = int(length) if length and length.isdecimal() else None
            yield from ((chunk, total) for chunk in _chunks(url, response, total, timeout, limit))
    except HTTPError as error:
        error.close()
        status = f"{error.code} {error.reason}"
        raise DownloadError(f"{shown(url)}: the server said {status}; check the URL") from None
    except TimeoutError:
        raise _stalled(url, timeout) from None
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(getattr(error, "reason", None), TimeoutError):
            raise _stalled(url, timeout) from None
        why = getattr(error, "reason", error)
        raise DownloadError(f"{shown(url)} cannot be fetched: {why}; check the URL and the network") from None


def _chunks(url: str, response: _Response, total: int | None, timeout: float, limit: int) -> Iterator[bytes]:
    start, count = time.monotonic(), 0
    if total is not None and total > limit:
        raise DownloadError(f"{shown(url)} has {total:,} bytes, not at most {limit:,}; not fetched")
    while chunk := response.read1(_CHUNK):
        count += len(chunk)
        if count > limit:
            raise DownloadError(f"{shown(url)} has more than {limit:,} bytes; given up")
        yield chunk
        seconds = time.monotonic() - start
        if seconds > timeout and count < MIN_RATE * seconds:
            raise _stalled(url, timeout)
    if total is not None and count < total:
        raise DownloadError(f"{shown(url)} was cut after {count:,} of {total:,} bytes; try again")


def _stalled(url: str, timeout: float) -> DownloadError:
    return DownloadError(f"{shown(url)} stalled (waited {timeout:g} s); check the network and try again")


def _opener() -> "OpenerDirector":
    """Like urllib's own, without FTP and data URLs, and without redirects from https to http."""
    from http.client import HTTPMessage
    from urllib import request
    from urllib.error import HTTPError

    class Redirects(request.HTTPRedirectHandler):
        def redirect_request(
            self, req: request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
        ) -> request.Request | None:
            if not newurl.startswith(("https:", f"{req.type}:")):
                raise HTTPError(newurl, code, f"{msg}: redirect to another kind of URL refused", headers, fp)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler, request.HTTPHandler, request.HTTPSHandler, request.FileHandler,
        request.HTTPDefaultErrorHandler, request.HTTPErrorProcessor, Redirects,
    ):  # fmt: skip
        opener.add_handler(handler())
    return opener

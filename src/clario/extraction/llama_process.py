"""llama.cpp in a process of its own, asked through pipes: no port of the network, and its end ends nothing else.

llama.cpp aborts where Python raises, and its log goes where it likes; in a child neither reaches the caller. The
child is this file run as a module: a line of JSON in, `{"id", "body"}`, a line out, `{"id", "reply"}`. It ends
with the pipe, so that it outlives nobody, not even a parent that was killed.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Final, NoReturn
from weakref import finalize

from clario.errors import ModelError

Reply = dict[str, Any]
CHILD: tuple[str, ...] = (sys.executable, "-P", "-m", "clario.extraction.llama_process")
_READY: Final = 0  # the number of what the child tells unasked, when it has loaded the model
_PATIENCE: Final = 5.0  # seconds to end by itself
_DIED: Final = "llama.cpp ended while it was read with; see that memory is free, and try again"


class LlamaDiedError(ModelError):
    """llama.cpp ended while it was asked; another process may do better."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The files of a model and perhaps its adapter; texts side by side, tokens of each, and threads."""

    model: Path
    adapter: Path | None = None
    slots: int = 2
    context: int = 4096
    threads: int = 2


class Llama:
    """A running llama.cpp; may be asked by several threads at once.

    Raises:
        ModelError: it does not start with this model.
    """

    def __init__(self, settings: Settings) -> None:
        folder = TemporaryDirectory(prefix="clario-llama-")
        told = json.dumps({**asdict(settings), "folder": folder.name}, default=str)
        self._child = subprocess.Popen(
            [*CHILD, told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the parent, who ends the child
        )
        self._asked = _Asked()
        ready = self._asked.add(_READY)
        # A daemon, since Python waits for other threads before it ends the child.
        self._reader = threading.Thread(target=self._asked.answer_from, args=(self._child.stdout,), daemon=True)
        self._reader.start()
        self._end = finalize(self, _end, self._child, self._reader, folder)
        try:
            reply = ready.result()
            if "error" in reply:
                raise ModelError(str(reply["error"]))
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._end.alive and self._child.poll() is None and not self._asked.over

    def ask(self, body: Mapping[str, Any]) -> Reply:
        """What llama.cpp's server answers to a request for a completion.

        Raises:
            LlamaDiedError: the process ended.
            ModelError: llama.cpp refused the request.
        """
        assert self._child.stdin is not None
        number, future = self._asked.another()
        line = json.dumps({"id": number, "body": dict(body)}).encode() + b"\n"
        try:
            with self._asked.lock:
                self._child.stdin.write(line)
                self._child.stdin.flush()
        except (OSError, ValueError):
            raise LlamaDiedError(_DIED) from None
        reply = future.result()
        if "error" in reply:
            fault = reply["error"]
            kind = fault.get("type", "error") if isinstance(fault, dict) else fault
            raise ModelError(f"llama.cpp refused a text ({kind}); try a shorter one")
        return reply

    def close(self) -> None:
        """End it; nothing is left: no process, thread, port or file."""
        self._end()


class _Asked:
    """The requests that wait for their answers. `over` once no answer can come any more."""

    def __init__(self) -> None:
        self.lock, self.over, self._count = threading.Lock(), False, _READY
        self._waiting: dict[int, Future[Reply]] = {}

    def add(self, number: int) -> "Future[Reply]":
        future: Future[Reply] = Future()
        self._waiting[number] = future
        return future

    def another(self) -> "tuple[int, Future[Reply]]":
        with self.lock:
            if self.over:
                raise LlamaDiedError(_DIED)
            self._count += 1
            return self._count, self.add(self._count)

    def answer_from(self, source: IO[bytes]) -> None:
        """Give each answer to whoever waits for it, until there are no more."""
        for line in source:
            with suppress(ValueError):  # half a line of a child that was killed
                told = json.loads(line)
                with self.lock:
                    future = self._waiting.pop(told["id"])
                future.set_result(told["reply"])
        with self.lock:
            self.over, left = True, list(self._waiting.values())
        for future in left:
            future.set_exception(LlamaDiedError(_DIED))


def _end(child: "subprocess.Popen[bytes]", reader: threading.Thread, folder: "TemporaryDirectory[str]") -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    with suppress(OSError):
        child.stdin.close()
    try:
        child.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    reader.join()
    child.stdout.close()
    folder.cleanup()


# The child


def main() -> None:
    """Load the model of the settings in the first argument, tell so, and answer until the input ends."""
    settings = json.loads(sys.argv[1])
    tell = _teller(os.dup(1), settings["folder"])
    os.dup2(2, 1)  # what llama.cpp prints is no answer
    try:
        server = _server(settings)
    except (ImportError, RuntimeError) as error:
        tell(_READY, {"error": f"llama.cpp cannot load {settings['model']} ({error}); fetch or make it again"})
        return
    tell(_READY, {})
    pool = ThreadPoolExecutor(settings["slots"])
    for line in sys.stdin.buffer:
        pool.submit(_answer, server, json.loads(line), tell)
    _leave(settings["folder"])


def _leave(folder: str) -> NoReturn:
    """End at once: nobody waits for what is still read, and to take a young server down may take for ever."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _teller(out: int, folder: str) -> Callable[[int, Reply], None]:
    lock, file = threading.Lock(), os.fdopen(out, "wb")

    def tell(number: int, reply: Reply) -> None:
        try:
            with lock:
                file.write(json.dumps({"id": number, "reply": reply}).encode() + b"\n")
                file.flush()
        except OSError:  # the parent is gone
            _leave(folder)

    return tell


def _answer(server: Any, asked: Mapping[str, Any], tell: Callable[[int, Reply], None]) -> None:
    try:
        reply = server.handle_completions(asked["body"])
    except Exception as error:  # noqa: BLE001  without a reply, whoever asked would wait for ever
        reply = {"error": type(error).__name__}
    tell(asked["id"], reply)


def _server(settings: Mapping[str, Any]) -> Any:
    """llama.cpp's server. It insists on an address: a socket that only this user reaches, or a guarded port."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.n_parallel, params.n_ctx = settings["slots"], settings["slots"] * settings["context"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    params.n_gpu_layers = 0
    # All of Gemma's sliding window is kept, without which no prefix could be used again.
    params.swa_full, params.n_ctx_checkpoints, params.cache_ram_mib = True, 0, 0
    params.warmup, params.verbosity, params.ui = False, 0, False
    params.api_keys = [os.urandom(16).hex()]
    if os.name == "posix":
        params.hostnames = [f"{settings['folder']}/s.sock"]
    if settings["adapter"]:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(settings["adapter"], 1.0)]
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()

"""A sink that writes a line to the access log for each reply that goes through it."""

from springhouse.engine.clock import Clock
from springhouse.engine.sinks import Sink, SinkBefore
from springhouse.exchange.reply import Reply
from springhouse.http.messages import Request
from springhouse.observe.accesslog import AccessLog, Line


class LoggingSink(SinkBefore):
    """Logs what passes through it. What is refused before it is a request is logged by its method alone."""

    def __init__(self, sink: Sink, log: AccessLog, clock: Clock, request: Request | None) -> None:
        super().__init__(sink)
        self._log = log
        self._clock = clock
        self._request = request
        self._started_at = clock()
        self._reply: Reply | None = None
        self._sent = 0

    def start(self, reply: Reply) -> None:
        self._reply = reply
        self._sink.start(reply)

    def write(self, data: bytes | memoryview) -> None:
        self._sent += len(data)
        self._sink.write(data)

    def end(self) -> None:
        self._sink.end()
        self._note()

    def abort(self) -> None:
        self._sink.abort()
        self._note()

    def _note(self) -> None:
        request, reply, now = self._request, self._reply, self._clock()
        if reply is None:
            return
        self._log.write(
            Line(
                at=now,
                peer=request.peer if request is not None else "",
                method=request.method.decode("latin-1") if request is not None else "-",
                target=request.target.decode("latin-1") if request is not None else "-",
                status=reply.status,
                bytes=0 if request is not None and request.method == b"HEAD" else self._sent,
                x_cache=reply.x_cache.decode(),
                reason=reply.reason.name if reply.reason is not None else "",
                seconds=now - self._started_at,
            )
        )

"""Building requests and reading answers, independently of the code under test."""

from __future__ import annotations

from dataclasses import dataclass, field

Fields = list[tuple[bytes, bytes]]


def field_lines(fields: dict[str, object]) -> bytes:
    """Return header lines for keyword arguments: `cache_control="max-age=60"`; a list gives several lines."""
    lines = []
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            raw = one if isinstance(one, bytes) else str(one).encode("latin-1")
            lines.append(name.replace("_", "-").title().encode() + b": " + raw + b"\r\n")
    return b"".join(lines)


def request(
    method: str, target: str, body: bytes | None = None, *, version: str = "1.1", host: str | None = "cache.test",
    **fields: object,
) -> bytes:  # fmt: skip
    """Return the bytes of a request; with a body, Content-Length is added unless `transfer_encoding` is given."""
    lines = b"" if host is None else field_lines({"host": host})
    if body is not None and "transfer_encoding" not in fields and "content_length" not in fields:
        fields["content_length"] = len(body)
    return f"{method} {target} HTTP/{version}\r\n".encode() + lines + field_lines(fields) + b"\r\n" + (body or b"")


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Return chunks in chunked transfer coding."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def split_head(raw: bytes) -> tuple[bytes, Fields]:
    """Return the start line and the fields of a head, as they stand there."""
    start, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    pairs = [line.partition(b":") for line in lines]
    assert all(colon for _, colon, _ in pairs), raw
    return start, [(name, value.strip(b" \t")) for name, _, value in pairs]


class Head:
    """Fields that can be asked for by name, in any case."""

    fields: Fields

    def all(self, name: str) -> list[str]:
        """Return the values of all fields of that name."""
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self.fields if key.lower() == wanted]

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the value of the only field of that name, or the default when there is none."""
        found = self.all(name)
        assert len(found) <= 1, f"{name} occurs {len(found)} times: {found}"
        return found[0] if found else default

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"no {name} in {self.fields}"
        return value

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))


@dataclass
class Answer(Head):
    """A response as a client read it; `interims` came before it."""

    status: int
    phrase: str
    fields: Fields
    body: bytes = b""
    interims: list[Answer] = field(default_factory=list)

    @property
    def x_cache(self) -> str | None:
        """What X-Cache says."""
        return self.get("X-Cache")

    @property
    def age(self) -> int:
        """What Age says."""
        return int(self["Age"])


@dataclass
class Seen(Head):
    """A request as the origin received it: `head` byte for byte, `body` decoded, as far as it was read."""

    method: str
    target: str
    fields: Fields
    head: bytes
    connection: int
    body: bytes = b""

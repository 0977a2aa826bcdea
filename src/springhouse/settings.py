"""Every setting, once: its name, type, default, and what it does.

A setting `some_name` is the flag `--some-name`, the variable `SPRINGHOUSE_SOME_NAME` and the key `some_name` of a TOML
file. Flags win over the environment, the environment over the file. `CACHE_TTL` is another name for `ttl`.
"""

import re
import ssl
import sys
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from msgspec import json
from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from springhouse.rules.options import VARIANTS_MAX
from springhouse.stores.kinds import check
from springhouse.upstream.routing import Origin

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def _size(value: object) -> object:
    """Read `256MiB`, `10MB` or plain bytes; ValueError otherwise."""
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value.strip())
    if not found or found[2].lower() not in _UNITS:
        raise ValueError(f"{value!r} is no size: write 256MiB, 10MB or a number of bytes")
    return int(float(found[1]) * _UNITS[found[2].lower()])


Size = Annotated[int, BeforeValidator(_size), Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]


def _names(value: object) -> object:
    """Split `a,b` into several names."""
    return tuple(part for part in re.split(r"[,\s]+", value) if part) if isinstance(value, str) else value


NameList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]

CACHING, ORIGIN, LISTENING, CLIENTS, LOGGING = "Caching", "Origin", "Listening", "Clients", "Logging"
CLASSIC = "Classic endpoints"


def setting(default: Any, text: str, group: str, *, hint: str = "", alias: str | None = None) -> Any:
    """Declare a setting: its default, one line of help, its group, and what the flag's value is called."""
    extra: dict[str, Any] = {"group": group, "hint": hint}
    names = None if alias is None else AliasChoices(*alias.split())
    return Field(default=default, description=text, json_schema_extra=extra, validation_alias=names)


class Settings(BaseSettings):
    """All settings of `springhouse serve`."""

    model_config = SettingsConfigDict(
        env_prefix="SPRINGHOUSE_", extra="forbid", frozen=True, populate_by_name=True, validate_default=True
    )
    config_file: ClassVar[Path | None] = None

    origin: str = setting("", "The server to fetch from: http(s)://host[:port][/path].", ORIGIN, hint="URL")
    host: str = setting("127.0.0.1", "Address to listen on; 0.0.0.0 or :: for all.", LISTENING, hint="ADDRESS")
    port: Annotated[int, Field(ge=0, le=65535)] = setting(
        8000, "Port to listen on; 0 takes a free one.", LISTENING, hint="PORT"
    )
    frontend: Literal["native", "fastapi", "flask"] = setting(
        "native", "Which server answers: our own, uvicorn with FastAPI, or a WSGI server with Flask.", LISTENING
    )
    allow_public: bool = setting(
        False,
        "Let --frontend fastapi and flask listen on public addresses, where slow clients can block them. Dangerous.",
        LISTENING,
    )
    unix_socket: Path | None = setting(None, "Listen on this Unix socket instead.", LISTENING, hint="PATH")
    workers: Annotated[int, Field(ge=1, le=1024)] = setting(
        1, "Processes that share the port, and divide the memory among them; not on Windows.", LISTENING, hint="N"
    )

    ttl: Annotated[int, Field(ge=0, le=2**31)] = setting(
        60,
        "Seconds of freshness for responses that say nothing about it; 0 leaves them to the standard's heuristics.",
        CACHING,
        hint="SECONDS",
        alias="SPRINGHOUSE_TTL CACHE_TTL",
    )
    force_ttl: bool = setting(False, "Let --ttl win over what the origin says, for 200s.", CACHING)
    ttl_despite_credentials: bool = setting(
        False, "Let --ttl apply to requests with Authorization or Cookie, too. Dangerous.", CACHING
    )
    ttl_despite_no_store: bool = setting(
        False, "Let --force-ttl apply to private, no-store and Set-Cookie responses, too. Dangerous.", CACHING
    )
    stale_if_error: Annotated[int, Field(ge=0, le=2**31)] = setting(
        0,
        "Seconds a stale response may stand in when the origin fails, where it does not say itself.",
        CACHING,
        hint="SECONDS",
    )
    set_cookie: Literal["refuse", "strip", "store"] = setting(
        "refuse", "Responses with Set-Cookie: refuse to store, store without it, or store as is.", CACHING
    )
    expose_tags: bool = setting(False, "Let clients see Surrogate-Key, xkey and Cache-Tag.", CACHING)
    store: str = setting(
        "memory",
        "Where responses are kept: memory, disk, disk:FOLDER, or redis://, rediss://, redis+cluster://, unix://.",
        CACHING,
        hint="STORE",
    )
    disk_size: Size = setting("10GiB", "Bytes the disk store may use in all.", CACHING, hint="SIZE")
    store_secret: SecretStr = setting(
        SecretStr(""), "Sign what the disk or Redis keeps with this, and believe nothing else.", CACHING, hint="SECRET"
    )
    store_prefix: str = setting(
        "springhouse:", "What keys in Redis begin with; one for each cache.", CACHING, hint="PREFIX"
    )
    store_timeout: Annotated[float, Field(gt=0)] | None = setting(
        None,
        "Seconds a look-up in the disk or Redis may take before it is a miss; 1 and 0.05 if not set.",
        CACHING,
        hint="SECONDS",
    )
    memory: Size = setting("256MiB", "Bytes the memory store may use in all.", CACHING, hint="SIZE")
    max_object: Size = setting("64MiB", "Larger responses pass through without being stored.", CACHING, hint="SIZE")
    max_variants: Annotated[int, Field(ge=1), AfterValidator(lambda most: min(most, VARIANTS_MAX))] = setting(
        64, f"Responses kept per URL, for different Vary; never more than {VARIANTS_MAX}.", CACHING, hint="N"
    )

    preserve_host: bool = setting(False, "Send the client's Host to the origin, and key by it.", ORIGIN)
    origin_ca: Path | None = setting(None, "Trust the certificates in this PEM file, too.", ORIGIN, hint="FILE")
    origin_connections: Annotated[int, Field(ge=1)] = setting(
        1024, "Connections to the origin at once; more requests queue.", ORIGIN, hint="N"
    )
    origin_idle: Seconds = setting(30.0, "Seconds to keep an unused origin connection.", ORIGIN, hint="SECONDS")
    connect_timeout: Seconds = setting(5.0, "Seconds to wait for a connection to the origin.", ORIGIN, hint="SECONDS")
    first_byte_timeout: Seconds = setting(
        60.0, "Seconds until its answer's head must be complete.", ORIGIN, hint="SECONDS"
    )
    between_bytes_timeout: Seconds = setting(
        60.0, "Seconds without any content within an answer.", ORIGIN, hint="SECONDS"
    )
    total_timeout: Seconds = setting(0.0, "Seconds for a whole answer; 0 for no limit.", ORIGIN, hint="SECONDS")
    unattended_timeout: Seconds = setting(
        60.0, "Seconds a fetch goes on, to be stored, that no client waits for.", ORIGIN, hint="SECONDS"
    )
    trusted_proxy: NameList = setting(
        (), "Network whose X-Forwarded-* and Forwarded are believed; repeatable.", ORIGIN, hint="CIDR"
    )

    max_connections: Annotated[int, Field(ge=1)] = setting(
        10_000, "Client connections at once; more get 503.", CLIENTS, hint="N"
    )
    max_target: Size = setting("8KiB", "Longest request target; longer ones get 414.", CLIENTS, hint="SIZE")
    max_header: Size = setting("32KiB", "Largest request header section; larger ones get 431.", CLIENTS, hint="SIZE")
    max_fields: Annotated[int, Field(ge=1)] = setting(128, "Most fields in a request; more get 431.", CLIENTS, hint="N")
    max_body: Size = setting("1GiB", "Largest request content; larger ones get 413.", CLIENTS, hint="SIZE")
    header_timeout: Seconds = setting(10.0, "Seconds a request's header section may take.", CLIENTS, hint="SECONDS")
    body_timeout: Seconds = setting(30.0, "Seconds a client may pause within its content.", CLIENTS, hint="SECONDS")
    idle_timeout: Seconds = setting(75.0, "Seconds an unused client connection is kept.", CLIENTS, hint="SECONDS")
    send_timeout: Seconds = setting(60.0, "Seconds a client may take nothing of its answer.", CLIENTS, hint="SECONDS")
    half_close_timeout: Seconds = setting(
        1.0, "Seconds a client that has closed its side may wait for an answer.", CLIENTS, hint="SECONDS"
    )
    min_rate: Annotated[int, Field(ge=0)] = setting(
        256, "Bytes a second below which a client is too slow.", CLIENTS, hint="N"
    )
    drain_timeout: Seconds = setting(
        30.0, "Seconds that requests in progress may take to finish after SIGTERM.", CLIENTS, hint="SECONDS"
    )

    classic: bool = setting(
        False, "Answer /proxy, /cache, /clear-cache and /docs here; X-Cache is HIT, MISS or BYPASS.", CLASSIC
    )
    allow_host: NameList = setting(
        (), "Host that /proxy may fetch from besides the origin, wherever it is; repeatable.", CLASSIC, hint="HOST"
    )
    allow_private: bool = setting(False, "Let /proxy fetch from private addresses, too. Dangerous.", CLASSIC)
    token: SecretStr = setting(
        SecretStr(""), "Who sends this as Authorization: Bearer may purge and clear over HTTP.", CLIENTS, hint="TOKEN"
    )

    access_log: str = setting("", "Write an access log to this file; - for standard output.", LOGGING, hint="FILE")
    access_log_format: Literal["common", "json"] = setting("common", "Form of the access log.", LOGGING)

    @field_validator("origin")
    @classmethod
    def _is_origin(cls, value: str) -> str:
        if value:
            Origin.parse(value)
        return value

    @field_validator("store")
    @classmethod
    def _is_store(cls, value: str) -> str:
        check(value)
        return value

    @field_validator("trusted_proxy")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network, strict=False)
        return value

    @field_validator("origin_ca")
    @classmethod
    def _has_certificates(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(value)
            except ssl.SSLError:
                raise ValueError(f"{value} holds no certificates in PEM form") from None
            except OSError as error:
                raise ValueError(f"{value} cannot be read: {error.strerror}") from None
        return value

    @field_validator("allow_host")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(Origin.parse(f"http://{host}").authority.decode() for host in value)

    @field_validator("workers")
    @classmethod
    def _can_be_several(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and sys.platform == "win32":
            raise ValueError("several processes cannot share a port on Windows; leave it at 1")
        if value > 1 and info.data.get("frontend") != "native":
            raise ValueError("only --frontend native has several; give uvicorn or gunicorn workers of their own")
        return value

    @property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of trusted_proxy."""
        return tuple(ip_network(network, strict=False) for network in self.trusted_proxy)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from, the strongest first."""
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if cls.config_file is not None:
            sources += (TomlConfigSettingsSource(settings_cls, cls.config_file),)
        return sources


class _Relayed(Settings):
    """Settings that come from another process of this proxy, and from nowhere else."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def settings_to_json(settings: Settings) -> bytes:
    """Return the settings for another process of this proxy, secrets included; `settings_from_json` reads them."""
    return json.encode(settings.model_dump(), enc_hook=_plain)


def settings_from_json(data: bytes) -> Settings:
    """Return the settings that `settings_to_json` wrote."""
    return _Relayed(**json.decode(data))


def _plain(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value)} in the settings")


class BadSettings(Exception):
    """Invalid settings; the text says which and why."""


def load_settings(given: dict[str, Any], config: Path | None = None) -> Settings:
    """Return the settings from flags, environment and file. Raises BadSettings."""
    if config is not None and not config.is_file():
        raise BadSettings(f"There is no configuration file {config}")
    chosen = type("Settings", (Settings,), {"config_file": config, "__module__": __name__})
    try:
        loaded: Settings = chosen(**given)
    except ValidationError as error:
        raise BadSettings("\n".join(_in_words(item) for item in error.errors())) from None
    except ValueError as error:
        raise BadSettings(f"{config}: {error}" if config else str(error)) from None
    return loaded


def _in_words(item: Any) -> str:
    name = str(item["loc"][0]) if item["loc"] else "settings"
    flag = "--" + name.lower().removeprefix("springhouse_").replace("cache_ttl", "ttl").replace("_", "-")
    if item["type"] == "extra_forbidden":
        return f"{name} is no setting; `springhouse serve --help` lists them"
    return f"{flag}: {item['msg'].removeprefix('Value error, ')}"

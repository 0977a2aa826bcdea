"""What every front end takes from the settings: what clients may send, the names it answers to, where it logs."""

from dataclasses import dataclass, field

from springhouse.observe.accesslog import AccessLog, Format
from springhouse.service import configured_origin, own_authorities, request_limits_of
from springhouse.settings import BadSettings, Settings
from springhouse.wire.admission import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendOptions:
    """`names_of_ours`: the authorities that a target in absolute form may have; `log_path`: "" for no access log.

    `half_close`: seconds that a client which has closed its side may wait for its answer to begin; 0 for no limit.
    """

    limits: Limits = field(default_factory=Limits)
    names_of_ours: frozenset[bytes] = frozenset()
    half_close: float = 1.0
    log_path: str = ""
    log_format: Format = "common"

    def open_log(self) -> AccessLog | None:
        """Return the access log, if there is to be one. Raises BadSettings."""
        if not self.log_path:
            return None
        try:
            return AccessLog(self.log_path, self.log_format)
        except OSError as error:
            raise BadSettings(f"Cannot write the access log {self.log_path}: {error.strerror}") from None


def frontend_options(settings: Settings) -> FrontendOptions:
    """Return what a front end takes from the settings."""
    return FrontendOptions(
        limits=request_limits_of(settings),
        names_of_ours=own_authorities(settings, settings.port, configured_origin(settings)),
        half_close=settings.half_close_timeout,
        log_path=settings.access_log,
        log_format=settings.access_log_format,
    )

"""`--store redis://…`, `rediss://…`, `redis+cluster://…` and `unix://…`: the tier that is opened for them."""

from typing import TYPE_CHECKING

from springhouse.stores.kinds import TierKind, TierOptions

if TYPE_CHECKING:
    from springhouse.stores.redis.tier import RedisTier


def _open(options: TierOptions) -> "RedisTier":
    try:
        from springhouse.stores.redis.limits import RedisLimits  # noqa: PLC0415 - an extra
        from springhouse.stores.redis.tier import RedisTier  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ValueError(f"it needs {error.name}: pip install 'springhouse[redis]'") from None
    limits = RedisLimits(
        variants_max=options.variants_max, whole_max=options.whole_max, waiting_max=options.waiting_max
    )
    if options.patience is not None:
        limits = limits.with_patience(options.patience)
    return RedisTier(options.url, limits, prefix=options.prefix, secret=options.secret, clock=options.wall)


REDIS_KIND = TierKind(open=_open)

"""Small named strings kept for each device and module."""

from __future__ import annotations

import attrs

from koodrive_async.models.modules import Module


@attrs.frozen(kw_only=True)
class SimpleConfigInfo:
    """A config entry as updating it returns it."""

    config_name: str
    config_value: str | None = None
    device_id: str | None = None
    module: Module | str | None = attrs.field(default=None, metadata={"wire": "moduleCode"})


@attrs.frozen(kw_only=True)
class ConfigInfo(SimpleConfigInfo):
    """A config entry with its description."""

    description: str | None = None

"""Small named strings kept for each device and module."""

from __future__ import annotations

import attrs

from koodrive_async import html
from koodrive_async.models.modules import Module


@attrs.frozen(kw_only=True)
class SimpleConfigInfo:
    """A config entry as updating it returns it."""

    config_name: str
    config_value: str | None = None
    device_id: str | None = None
    module: Module | str | None = attrs.field(default=None, metadata={"wire": "moduleCode"})

    def _html_row_(self) -> html.Cells:
        return {
            "name": html.code(self.config_name),
            "value": html.code(self.config_value),
            "module": html.name_of(self.module),
            "device": html.code(self.device_id),
        }

    def _repr_html_(self) -> str:
        return html.card("Config entry", self._html_row_())


@attrs.frozen(kw_only=True)
class ConfigInfo(SimpleConfigInfo):
    """A config entry with its description."""

    description: str | None = None

    def _html_row_(self) -> html.Cells:
        return {**super()._html_row_(), "description": html.text(self.description)}

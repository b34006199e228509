"""The lease that backup writes must quote."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class BackupLock:
    """A backup lock (``LockInfo``), alive for 10 minutes from its creation or last renewal.

    :ivar lock_id: Goes into ``x-backup-lock-id`` unchanged, with its ``@`` and module code.
    """

    lock_id: str

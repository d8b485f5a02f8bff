"""The link that a configuration asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ...config.model import Configuration
from ...runtime.logging import Logger
from .base import Complain, Deliver, Link, nobody_cares
from .faults import FAULTS_VARIABLE, FaultyLink
from .settings import LinkSettings
from .udpu import UdpuLink


def create_link(
    configuration: Configuration,
    deliver: Deliver,
    log: Logger,
    complain: Complain = nobody_cares,
    environment: Mapping[str, str] = os.environ,
) -> tuple[Link, LinkSettings]:
    """Link 0, not open yet, and what it was made from.

    Raises:
        OperationFailed: an address of the node list is not numeric.
    """
    settings = LinkSettings.of(configuration)
    if configuration.totem.transport != "udpu":
        log.warning(f"Transport {configuration.totem.transport} is not there yet: udpu is used instead")
    faults = environment.get(FAULTS_VARIABLE, "")
    if not faults:
        return UdpuLink(settings, deliver, log, complain), settings

    def real(inner_deliver: Deliver, inner_complain: Complain) -> Link:
        return UdpuLink(settings, inner_deliver, log, inner_complain)

    return FaultyLink(real, settings, deliver, Path(faults), log, complain=complain), settings

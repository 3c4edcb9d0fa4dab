# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: the daemon, its control socket, network namespaces."""

from .daemon import Daemon, StartFailure
from .lab import DEVICE, GATEWAY4, GATEWAY6, GATEWAY_MAC, SEND_ALL, Lab
from .netns import Namespace, sweep
from .rpc import Closed, RpcClient, RpcError
from .wait import until
from .wire import PACKET_OUTGOING, Stream, Wire

__all__ = ["Closed", "DEVICE", "Daemon", "GATEWAY4", "GATEWAY6", "GATEWAY_MAC", "Lab", "Namespace",
           "PACKET_OUTGOING", "RpcClient", "RpcError", "SEND_ALL", "StartFailure", "Stream", "Wire", "sweep",
           "until"]

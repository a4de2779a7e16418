"""Every message that crosses the kernel's socket, as plain frozen dataclasses.

The server validates them with pydantic (through FastAPI, which also draws /openapi.json from them), clients
decode them with msgspec; neither library is imported here, so that a client starts fast.
Units are in names: `_ms`, `_s`, `_bytes`; token counts have no suffix; times of day are Unix seconds.
"""

from __future__ import annotations

from aios_kernel.protocol.access import (
    AnswerRequest,
    AuditHead,
    AuditRow,
    DecideRequest,
    GrantRequest,
    Outcome,
    PolicyInfo,
    Question,
    Scope,
    Verdict,
)
from aios_kernel.protocol.contexts import (
    History,
    SaveRequest,
    SnapshotDetail,
    SnapshotInfo,
)
from aios_kernel.protocol.kernel import (
    PROTOCOL_VERSION,
    KernelStatus,
    KeyInfo,
    KeyRequest,
    ModelInfo,
    ModelRequest,
    QueueEntry,
    SchedInfo,
    SchedRequest,
)
from aios_kernel.protocol.processes import (
    SIGNAL_NUMBERS,
    AgentInfo,
    Event,
    EventKind,
    Mail,
    NiceRequest,
    Pid,
    PolicyClass,
    ProcInfo,
    ProcState,
    RunRequest,
    Signal,
    SignalRequest,
    Started,
    Tier,
)
from aios_kernel.protocol.syscalls import (
    ChatReply,
    ChatRequest,
    Overflow,
    SyscallRequest,
    ToolCall,
    ToolSpec,
)
from aios_kernel.protocol.watch import (
    Frame,
    HostInfo,
    SlotUse,
    StepInfo,
    StepPhase,
)

__all__ = [
    "PROTOCOL_VERSION",
    "SIGNAL_NUMBERS",
    "AgentInfo",
    "AnswerRequest",
    "AuditHead",
    "AuditRow",
    "ChatReply",
    "ChatRequest",
    "DecideRequest",
    "Event",
    "EventKind",
    "Frame",
    "GrantRequest",
    "History",
    "HostInfo",
    "KernelStatus",
    "KeyInfo",
    "KeyRequest",
    "Mail",
    "ModelInfo",
    "ModelRequest",
    "NiceRequest",
    "Outcome",
    "Overflow",
    "Pid",
    "PolicyClass",
    "PolicyInfo",
    "ProcInfo",
    "ProcState",
    "Question",
    "QueueEntry",
    "RunRequest",
    "SaveRequest",
    "SchedInfo",
    "SchedRequest",
    "Scope",
    "Signal",
    "SignalRequest",
    "SlotUse",
    "SnapshotDetail",
    "SnapshotInfo",
    "Started",
    "StepInfo",
    "StepPhase",
    "SyscallRequest",
    "Tier",
    "ToolCall",
    "ToolSpec",
    "Verdict",
]

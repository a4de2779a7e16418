"""Every error that may cross the socket, and one table with its outward faces.

    KernelError
    ├── BadRequest            malformed, out of range, unknown key
    │   └── PromptTooLong     the prompt alone is larger than the context window
    ├── BadConfig             config.toml: file, line and accepted values in the message
    ├── NoSuchProcess         no process has this pid
    ├── NoSuchAgent           no agent has this name
    ├── NoSuchTool            no tool has this name
    ├── NoSuchModel           no model matches the reference
    ├── NoSuchSyscall         the kernel has no syscall of this name
    ├── NoSuchSnapshot        no snapshot has this id
    ├── NoSuchFile            no file, version, share or mount is there
    ├── NoSuchNote            the agent has no note of this id
    ├── SnapshotBroken        a snapshot file is cut off, altered, or of another kind
    ├── InvalidState          the process is not in a state that allows this
    ├── NotPermitted          the caller lacks the right
    ├── NotAuthenticated      missing, forged or expired token
    ├── DeadlineHit           the deadline passed first
    ├── Cancelled             the caller or a signal ended the wait
    ├── LimitHit              a quota (tokens, processes, bytes) is used up
    ├── ToolFailed            a tool raised, or its arguments break its schema
    ├── ModelBroken           the model file cannot be loaded
    ├── ModelFailed           the engine failed while it ran this request
    ├── HostFailed            the agent host could not start the agent
    ├── KernelUnreachable     no kernel answers on the socket
    ├── KernelStopping        the kernel is shutting down
    └── InternalError         a bug of ours; the kernel's log has the traceback
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


class KernelError(Exception):
    """Base of every error a kernel client may see.

    Args:
        message: one line, for a person.
        data: JSON-able facts for a program (pid, key, accepted values).
    """

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    def __eq__(self, other: object) -> bool:
        return (
            type(self) is type(other)
            and isinstance(other, KernelError)
            and (self.message, self.data) == (other.message, other.data)
        )

    def __hash__(self) -> int:
        return hash((type(self), self.message))


class BadRequest(KernelError): ...
class PromptTooLong(BadRequest): ...
class BadConfig(KernelError): ...
class NoSuchProcess(KernelError): ...
class NoSuchAgent(KernelError): ...
class NoSuchTool(KernelError): ...
class NoSuchModel(KernelError): ...
class NoSuchSyscall(KernelError): ...
class NoSuchSnapshot(KernelError): ...
class NoSuchFile(KernelError): ...
class NoSuchNote(KernelError): ...
class SnapshotBroken(KernelError): ...
class InvalidState(KernelError): ...
class NotPermitted(KernelError): ...
class NotAuthenticated(KernelError): ...
class DeadlineHit(KernelError): ...
class Cancelled(KernelError): ...
class LimitHit(KernelError): ...
class ToolFailed(KernelError): ...
class ModelBroken(KernelError): ...
class ModelFailed(KernelError): ...
class HostFailed(KernelError): ...
class KernelUnreachable(KernelError): ...
class KernelStopping(KernelError): ...
class InternalError(KernelError): ...


@dataclass(frozen=True, slots=True)
class Row:
    """How one error looks from outside: errno-like name, HTTP status, exit code."""

    errno: str
    http: int
    exit: int


WIRE: Final[dict[type[KernelError], Row]] = {
    BadRequest: Row("EINVAL", 400, 2),
    PromptTooLong: Row("E2BIG", 413, 1),
    BadConfig: Row("ECONFIG", 400, 2),
    NoSuchProcess: Row("ESRCH", 404, 1),
    NoSuchAgent: Row("ENOENT", 404, 127),
    NoSuchTool: Row("ENOTOOL", 404, 1),
    NoSuchModel: Row("ENOMODEL", 404, 1),
    NoSuchSyscall: Row("ENOSYS", 404, 1),
    NoSuchSnapshot: Row("ENOSNAP", 404, 1),
    NoSuchFile: Row("ENOFILE", 404, 1),
    NoSuchNote: Row("ENONOTE", 404, 1),
    SnapshotBroken: Row("ESNAP", 422, 1),
    InvalidState: Row("EBUSY", 409, 1),
    NotPermitted: Row("EPERM", 403, 126),
    NotAuthenticated: Row("EACCES", 401, 126),
    DeadlineHit: Row("ETIME", 504, 124),
    Cancelled: Row("ECANCELED", 499, 130),
    LimitHit: Row("EDQUOT", 429, 1),
    ToolFailed: Row("ETOOL", 422, 1),
    ModelBroken: Row("ENOEXEC", 500, 1),
    ModelFailed: Row("EIO", 500, 1),
    HostFailed: Row("ECHILD", 500, 1),
    KernelUnreachable: Row("ECONNREFUSED", 503, 3),
    KernelStopping: Row("ESHUTDOWN", 503, 3),
    InternalError: Row("EFAULT", 500, 1),
}

_BY_ERRNO: Final = {row.errno: cls for cls, row in WIRE.items()}


def row_of(error: BaseException) -> Row:
    """The outward face of `error`: its own row, else its nearest ancestor's, else InternalError's."""
    for cls in type(error).__mro__:
        if cls in WIRE:
            return WIRE[cls]
    return WIRE[InternalError]


def to_wire(error: KernelError) -> dict[str, Any]:
    """{"errno", "message", "data"}: what stands under "error" in a reply."""
    return {"errno": row_of(error).errno, "message": error.message, "data": error.data}


def from_wire(body: dict[str, Any]) -> KernelError:
    """The error that `to_wire` described, equal to the original."""
    cls = _BY_ERRNO.get(str(body.get("errno")), InternalError)
    return cls(str(body.get("message", "unknown error")), **body.get("data") or {})

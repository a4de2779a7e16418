"""Syscalls: what an agent may ask of the kernel. Each family is a module with the rows of its table."""

from aios_kernel.access.manager import AccessManager
from aios_kernel.embedding import Embedding
from aios_kernel.journal import Journal
from aios_kernel.llm import Llm
from aios_kernel.memory.manager import MemoryManager
from aios_kernel.storage import StorageManager
from aios_kernel.supervisor import Supervisor
from aios_kernel.syscalls.access import AccessSyscalls
from aios_kernel.syscalls.dispatch import Dispatcher
from aios_kernel.syscalls.memory import MemorySyscalls, logged
from aios_kernel.syscalls.model import ModelSyscalls
from aios_kernel.syscalls.processes import ProcessSyscalls
from aios_kernel.syscalls.storage import StorageSyscalls
from aios_kernel.syscalls.table import Syscall
from aios_kernel.syscalls.tools import ToolSyscalls
from aios_kernel.tools import ToolRegistry

__all__ = ["Dispatcher", "all_rows"]


def all_rows(
    llm: Llm,
    tools: ToolRegistry,
    supervisor: Supervisor,
    journal: Journal,
    access: AccessManager,
    memory: MemoryManager,
    embedding: Embedding,
    storage: StorageManager,
) -> dict[str, Syscall]:
    """The whole table, over the managers that serve it."""
    rows = {
        **ModelSyscalls(llm).rows(),
        **ProcessSyscalls(supervisor, journal).rows(),
        **AccessSyscalls(access).rows(),
        **MemorySyscalls(memory, embedding).rows(),
        **StorageSyscalls(storage, access).rows(),
    }
    return logged({**rows, **ToolSyscalls(tools, access, rows).rows()}, memory)

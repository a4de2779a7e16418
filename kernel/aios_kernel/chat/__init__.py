"""From messages to tokens and back: templates, tools, JSON, and the manager behind llm.chat."""

from aios_kernel.chat.conversation import Conversation
from aios_kernel.chat.manager import ChatManager, Grant

__all__ = ["ChatManager", "Conversation", "Grant"]

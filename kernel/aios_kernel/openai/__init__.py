"""The kernel as an OpenAI-compatible server: each request of a foreign program is a process with one llm.chat.

Source of every form here: OpenAI's API reference, "Chat completions" and "Models".
"""

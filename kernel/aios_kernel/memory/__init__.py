"""The memory manager: notes of agents, interaction logs of processes."""

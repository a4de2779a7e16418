"""What keeps agents and tools to themselves, and what they may take of the machine."""

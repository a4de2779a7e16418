"""What a person types at: command lines, the registry of commands, and everything drawn on a terminal."""

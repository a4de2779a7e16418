"""Which generation runs next, and the thread that runs it."""

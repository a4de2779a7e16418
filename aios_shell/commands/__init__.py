"""What the commands do: one module per noun, imported when one of its commands runs.

A handler takes its Io and the parameters that the registry names, and returns an exit status (None: 0). It raises
KernelError for what a person should read, and may let OSError out.
"""

"""The kernel: processes, syscalls, scheduler and model, behind one Unix socket."""

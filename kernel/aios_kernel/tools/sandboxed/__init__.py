"""What runs in a process of its own, confined: the worker program, and the functions of ours that it runs.

They import nothing of the kernel, and the kernel nothing of them.
"""

"""The full-screen app: a client of the kernel that shows it at work and takes every command of the shell."""

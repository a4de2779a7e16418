"""Dialogs: screens over the app that a person answers or leaves."""

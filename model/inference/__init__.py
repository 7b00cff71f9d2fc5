"""Offline separation of files and folders; the streaming model without torch."""

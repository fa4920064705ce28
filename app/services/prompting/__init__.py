"""Prompt sessions: one person, one volume, one mask in progress, one log of what was done."""

"""Prompt sessions: one person, one volume, one mask in progress, one log of the steps.

| module | holds |
| --- | --- |
| `service` | opening, locking, parking and closing sessions |
| `session` | the session handle: prompts, undo, reading the mask |
| `ending` | when a prediction ends before its last patch |
| `log`, `snapshots`, `restore` | what is stored on disk, and restoring a session from it |
| `images` | images that viewers send |
| `starting` | initial masks from automatic models and stored labels |
| `matching`, `submission` | finding the archive's case of such an image; turning a session into a label |
"""

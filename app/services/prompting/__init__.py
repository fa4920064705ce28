"""Prompt sessions: one person, one volume, one mask in progress, one log of what was done.

| module | holds |
| --- | --- |
| `service` | opening sessions, handing them out, giving their memory back |
| `session` | a session while somebody has it |
| `log`, `snapshots`, `restore` | what is kept on disk, and how a session comes back from it |
| `images` | images that viewers send |
| `matching`, `submission` | finding the archive's case of such an image; turning a session into a label |
"""

"""What every wire protocol of an older commit answered, against what this tree answers: `python -m tests.recording`.

Both trees serve the same made-up studies on this machine in the same run, and get exactly the same requests over
loopback HTTP. What differs between them and isn't masked is a difference in the wire.

| module | holds |
| --- | --- |
| `server` | trees, and `segloop serve` out of each of them |
| `studies` | the images that both serve |
| `client` | sending requests and keeping the answers |
| `bodies` | answers of every media type as plain values |
| `masking` | what can't be the same in two runs, and why |
| `compare` | differences, and which of them are accepted (`reworded.toml`) |
| `scripts` | the requests: one module for each protocol |
"""

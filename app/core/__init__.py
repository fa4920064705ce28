"""Nouns and contracts: what segloop talks about. numpy at most; no I/O, no framework.

| module | holds |
| --- | --- |
| `volume` | `Geometry`, `Volume` |
| `prompt` | `Region`, `Point`, `Box`, `Scribble`, `Lasso`, `InitialMask` |
| `mask` | `Segment`, `Mask` |
| `case` | `Case` |
| `label` | `Label` |
| `pool` | `Pool`, `Candidate`, `Pick`, the `Strategy` contract |
| `model` | `ModelCard`, the `InteractiveModel` and `AutomaticModel` contracts |
| `training` | `ModelSpec`, `TrainingRun`, `Epoch`, the `Trainer` contract |
| `archive` | the `Archive` contract, `Delivery`, `Receipt` |
| `progress` | how long work reports and is cancelled |
"""

"""Nouns and contracts: what segloop talks about. numpy at most; no I/O, no framework.

| module | holds |
| --- | --- |
| `volume` | `Geometry`, `Volume` |
| `prompt` | `Region`, `Point`, `Box`, `Scribble`, `Lasso`, `InitialMask` |
| `mask` | `Segment`, `Mask` |
| `case` | `Case`, and what is kept about one: `CaseRow`, `CaseScore`, `CaseClaim` |
| `label` | `Label`, and how far it is on its way to the archive: `Waiting`, `OutboxState` |
| `pool` | `Pool`, `Candidate`, `Pick`, the `Strategy` contract |
| `job` | `Job` |
| `model` | `ModelCard`, `ModelVersion`, the `InteractiveModel` and `AutomaticModel` contracts |
| `training` | `ModelSpec`, `TrainingRun`, `Epoch`, the `Trainer` contract |
| `archive` | the `Archive` contract, `Delivery`, `Receipt` |
| `progress` | how long work reports and is cancelled |
"""

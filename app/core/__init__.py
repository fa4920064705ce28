"""The domain types and contracts. Only numpy is imported; no I/O, no framework.

| module | holds |
| --- | --- |
| `volume` | `Geometry`, `Volume` |
| `prompt` | `Region`, `Point`, `Box`, `Scribble`, `Lasso`, `InitialMask` |
| `mask` | `Segment`, `Mask` |
| `case` | `Case`, and what is kept about one: `CaseRow`, `CaseScore`, `CaseClaim` |
| `label` | `Label`, and its delivery to the archive: `PendingDelivery`, `OutboxState` |
| `pool` | `Pool`, `Candidate`, `Pick`, the `Strategy` contract |
| `job` | `Job` |
| `model` | `ModelCard`, `ModelVersion`, the `InteractiveModel` and `AutomaticModel` contracts |
| `training` | `ModelSpec`, `TrainingRun`, `Epoch`, the `Trainer` contract |
| `archive` | the `Archive` contract, `Delivery`, `Receipt` |
| `progress` | the callback for progress and cancellation |
"""

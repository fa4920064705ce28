"""`segloop demo`: phantom CT studies, a server, and a simulated annotator who labels in it.

| module | holds |
| --- | --- |
| `anatomy` | one synthetic patient: organs as formulas in millimetres |
| `plan` | the patients and series |
| `phantoms` | the series as DICOM files, the truth beside them |
| `stow` | putting those files into a DICOMweb archive |
| `clicks` | where an annotator clicks |
| `nifti` | images as the wire has them |
| `client` | the MONAI Label API as a client sees it |
| `annotator` | plays one case through that API |
| `held_out` | patients the server never sees, to measure with |
| `server` | the server as a child process |
| `narrator` | console output while it runs |
| `rounds` | labelling, training and scoring in turns |
| `report`, `picture` | the table and the picture at the end |
| `play` | all of it in order |

The annotator knows only the server's address: everything goes over HTTP, as for a viewer.
"""

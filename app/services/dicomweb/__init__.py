"""DICOMweb for viewers: the archive's own, passed on, or this server's over a folder of DICOM files.

| module | holds |
| --- | --- |
| `proxy`, `addresses` | passing requests on to a DICOMweb archive, and its addresses turned into ours |
| `factory` | which of both there is, by what the archive offers |
| `folder` | searching and reading a folder |
| `keeping` | what byte for byte is remembered between requests |
| `incoming` | what viewers store: segmentations become labels, the rest goes to the archive |
"""

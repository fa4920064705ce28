"""Segment names -> coded concepts."""

from __future__ import annotations

import re
from typing import TypeGuard

from app.core.mask import Code, Segment

ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
TISSUE = Code("85756007", "SCT", "Tissue")

_ANATOMY = {
    "adrenal gland": "23451007",
    "aorta": "15825003",
    "bladder": "89837001",
    "blood vessel": "59820001",
    "bone": "272673000",
    "brain": "12738006",
    "brain stem": "119238007",
    "breast": "76752008",
    "cerebellum": "113305005",
    "clavicle": "51299004",
    "colon": "71854001",
    "duodenum": "38848004",
    "esophagus": "32849002",
    "eye": "81745001",
    "femur": "71341001",
    "gallbladder": "28231008",
    "heart": "80891009",
    "hippocampus": "5366008",
    "humerus": "85050009",
    "inferior vena cava": "64131007",
    "kidney": "64033007",
    "larynx": "4596009",
    "liver": "10200004",
    "lung": "39607008",
    "lymph node": "59441001",
    "mandible": "91609006",
    "muscle": "71616004",
    "optic nerve": "18234004",
    "pancreas": "15776009",
    "parotid gland": "45289007",
    "pharynx": "54066008",
    "portal vein": "32764006",
    "prostate": "41216001",
    "rectum": "34402009",
    "rib": "113197003",
    "sacrum": "54735007",
    "scapula": "79601000",
    "skin": "39937001",
    "small intestine": "30315005",
    "spinal cord": "2748008",
    "spine": "421060004",
    "spleen": "78961009",
    "sternum": "56873002",
    "stomach": "69695003",
    "thyroid": "69748006",
    "tibia": "12611008",
    "tongue": "21974007",
    "trachea": "44567001",
    "uterus": "35039007",
    "vertebra": "51282000",
}
_ABNORMAL = {
    "cyst": "367643001",
    "edema": "79654002",
    "hemorrhage": "50960005",
    "lesion": "52988006",
    "necrosis": "6574001",
    "neoplasm": "108369006",
    "nodule": "27925004",
    "thrombus": "396339007",
    "tumor": "108369006",
}
_SYNONYMS = {
    "adrenal": "adrenal gland",
    "brainstem": "brain stem",
    "gall bladder": "gallbladder",
    "haemorrhage": "hemorrhage",
    "lesions": "lesion",
    "oedema": "edema",
    "oesophagus": "esophagus",
    "parotid": "parotid gland",
    "small bowel": "small intestine",
    "thyroid gland": "thyroid",
    "tumour": "tumor",
    "urinary bladder": "bladder",
    "vertebrae": "vertebra",
}
_SIDE = re.compile(r"\b(left|right|l|r)\b")


def codes_of(segment: Segment) -> tuple[Code, Code]:
    """Category and type (DICOM PS3.3 C.8.20.4; CID 7150, 7151) of a segment.

    Its own codes if it has them, else by its name, ignoring side, case and punctuation; unknown names are tissue. The
    side isn't coded: the name is always stored too.
    """
    if _is_complete(segment.category) and _is_complete(segment.type):
        return segment.category, segment.type
    name = " ".join(_SIDE.sub(" ", re.sub(r"[\W_\d]+", " ", segment.name.lower())).split())
    name = _SYNONYMS.get(name, name)
    if name in _ANATOMY:
        return ANATOMY, Code(_ANATOMY[name], "SCT", name.capitalize())
    # "liver tumor" is a tumor: an abnormal structure takes precedence over its location.
    last = _SYNONYMS.get(name.split(" ")[-1], name.split(" ")[-1])
    if last in _ABNORMAL:
        return ABNORMAL, Code(_ABNORMAL[last], "SCT", last.capitalize())
    return TISSUE, TISSUE


def _is_complete(code: Code | None) -> TypeGuard[Code]:
    return code is not None and bool(code.value and code.scheme and code.meaning)

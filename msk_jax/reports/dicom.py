"""Results as DICOM objects that refer to the images they come from: SR, SEG, secondary capture.

highdicom writes them; it is the extra `highdicom`. What a network says is preliminary and
unverified until a physician signs, and every object says so. The objects carry the identity of
the patient, as the images do.
"""

import contextlib
import datetime
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from msk_jax.errors import UserError

_SCHEME = "99MSKJAX"
_MAKER = "msk_jax"
_UNVERIFIED = "Unverified result of research software. Not for diagnosis."
_SERIES = {"sr": 9901, "seg": 9902, "sc": 9903}
SIDES = {"left": codes.SCT.Left, "right": codes.SCT.Right}


@dataclass(frozen=True)
class ModelIdentity:
    """Which network speaks."""

    name: str
    version: str
    sha256: str
    """Of its checkpoint."""


@dataclass(frozen=True)
class Finding:
    """A probability that a network gives to a part of a patient."""

    name: str
    """What is found, as `sacroiliitis`."""

    probability: float
    site: str = ""
    """Where, in words, as `sacroiliac joint`."""

    side: str = ""
    """`left`, `right` or ''."""


def highdicom_module():
    """highdicom itself.

    Raises:
        UserError: it is not installed.
    """
    try:
        import highdicom
    except ImportError:
        raise UserError(
            "DICOM results are written by highdicom, which is not installed. Install it with: "
            'pip install "msk_jax[highdicom]"'
        ) from None
    return highdicom


def measurement_report(
    sources: Sequence[Dataset], findings: Sequence[Finding], model: ModelIdentity
) -> Dataset:
    """A preliminary, unverified measurement report (PS3.16 TID 1500).

    Args:
        sources: headers of the images, all of one study.
        findings: what to report.
        model: who says so.

    Raises:
        UserError: the extra is missing, or the headers lack what a report needs.
    """
    sr = highdicom_module().sr
    with _needing_headers("a measurement report"):
        report = sr.ComprehensiveSR(
            evidence=list(sources),
            content=_content(sr, sources, findings, model)[0],
            is_complete=False,
            is_final=False,
            is_verified=False,
            **_common("sr"),
        )
    return _dated(report)


def _content(sr, sources: Sequence[Dataset], findings: Sequence[Finding], model: ModelIdentity):
    """The tree of a report (TID 1500)."""
    algorithm = sr.AlgorithmIdentification(
        name=model.name, version=model.version, parameters=[f"SHA-256 {model.sha256}"]
    )
    groups = [_group(sr, k + 1, finding, algorithm, sources) for k, finding in enumerate(findings)]
    observer = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=generate_uid(entropy_srcs=[model.name, model.version, model.sha256]),
            name=model.name,
            manufacturer_name=_MAKER,
            model_name=model.version,
        ),
    )
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )


def _group(sr, number: int, finding: Finding, algorithm, sources: Sequence[Dataset]):
    """One finding with its probability (TID 1501)."""
    images = sr.SourceImageForMeasurementGroup.from_source_image
    probability = sr.Measurement(
        name=_code("probability"),
        value=round(float(finding.probability), 6),
        unit=codes.UCUM.NoUnits,
    )
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=generate_uid(), identifier=f"{number}"),
        finding_type=_code(finding.name),
        algorithm_id=algorithm,
        finding_sites=_site(sr, finding),
        measurements=[probability],
        source_images=[images(source) for source in sources],
    )


def segmentation(
    sources: Sequence[Dataset], mask: np.ndarray, label: str, model: ModelIdentity
) -> Dataset:
    """A binary segmentation on the grid of its source images.

    Args:
        sources: headers of the slices, in the order of the mask.
        mask: bool [slices, rows, columns].
        label: what is segmented.
        model: who says so.

    Raises:
        UserError: the extra is missing, the mask does not fit the images in number or size, is
            empty, or the headers lack what a segmentation needs.
    """
    hd = highdicom_module()
    expected = (len(sources), int(sources[0].Rows), int(sources[0].Columns))
    if mask.shape != expected:
        raise UserError(
            f"The mask has the shape {mask.shape} and its images {expected}. Give one slice of "
            "mask for each image."
        )
    if not mask.any():
        raise UserError(f"The mask of {label} is empty, and there is no empty segmentation.")
    description = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=label[:64],
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=_code(label),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=model.name,
            family=codes.DCM.ArtificialIntelligence,
            version=model.version,
            parameters={"sha256": model.sha256},
        ),
    )
    with _needing_headers("a segmentation"):
        made = hd.seg.Segmentation(
            source_images=list(sources),
            pixel_array=mask.astype(np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[description],
            manufacturer_model_name=model.name,
            software_versions=model.version,
            device_serial_number=model.sha256[:16],
            content_description=_UNVERIFIED[:64],
            content_label="UNVERIFIED",
            series_description=_UNVERIFIED[:64],
            **_common("seg"),
        )
    return _dated(made)


def secondary_capture(
    sources: Sequence[Dataset], picture: np.ndarray, title: str, model: ModelIdentity
) -> Dataset:
    """A picture, as of a heat map, in the study of its source images.

    Args:
        sources: headers of the images that it was made from.
        picture: uint8 [rows, columns, 3], which must name nobody.
        title: series description.
        model: who made it.

    Raises:
        UserError: the extra is missing, or the headers lack what a capture needs.
    """
    hd = highdicom_module()
    with _needing_headers("a secondary capture"):
        capture = hd.sc.SCImage.from_ref_dataset(
            ref_dataset=sources[0],
            pixel_array=np.ascontiguousarray(picture),
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=("L", "P"),
            **_common("sc"),
        )
        capture.SourceImageSequence = [_reference(source) for source in sources]
    capture.SeriesDescription = f"UNVERIFIED {title}"[:64]
    capture.ImageComments = _UNVERIFIED
    capture.BurnedInAnnotation = "NO"
    capture.Laterality = sources[0].get("Laterality", "")
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.DerivationDescription = f"{model.name} {model.version}, SHA-256 {model.sha256}"
    return _dated(capture)


def _reference(source: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item


def _site(sr, finding: Finding) -> list | None:
    if not finding.site:
        return None
    return [sr.FindingSite(_code(finding.site), laterality=SIDES.get(finding.side))]


def _code(meaning: str) -> Code:
    """A code of our own: none is claimed from a terminology that was not looked up."""
    value = "".join(c for c in meaning.upper() if c.isalnum())[:16] or "NONE"
    return Code(value=value, scheme_designator=_SCHEME, meaning=meaning[:64])


def _common(kind: str) -> dict:
    return {
        "series_instance_uid": generate_uid(),
        "series_number": _SERIES[kind],
        "sop_instance_uid": generate_uid(),
        "instance_number": 1,
        "manufacturer": _MAKER,
    }


@contextlib.contextmanager
def _needing_headers(what: str) -> Iterator[None]:
    """A sentence where a header lacks something, which highdicom says in many ways."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # Which attribute is missing may be told; other texts quote values, which name patients.
        told = f": {error}" if isinstance(error, AttributeError) else ""
        raise UserError(
            f"The headers of the images do not allow {what} ({type(error).__name__}{told}). Use "
            "the original images."
        ) from error


def _dated(made: Dataset) -> Dataset:
    # highdicom dates the content with fractions of a second, which validators doubt.
    now = datetime.datetime.now().astimezone()
    made.ContentDate, made.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    made.TimezoneOffsetFromUTC = now.strftime("%z")
    return made


def checkpoint_sha256(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files of a checkpoint."""
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            while block := opened.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def write(dataset: Dataset, path: Path) -> None:
    """Write one object as a DICOM file."""
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)

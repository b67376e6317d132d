"""The results of `msk-jax predict` as DICOM objects, in a folder or sent to a server."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from msk_jax.data.dicom.headers import quiet, read_header
from msk_jax.data.sources.dicomweb import Server, store
from msk_jax.reports.dicom import (
    SIDES,
    Finding,
    ModelIdentity,
    checkpoint_sha256,
    highdicom_module,
    measurement_report,
    secondary_capture,
    write,
)

FOLDER_NAME = "dicom"


@dataclass(frozen=True)
class DicomResults:
    """Where results go. They carry the identity of the patient, unlike all else in the folder."""

    folder: Path
    model: ModelIdentity
    server: Server | None

    @classmethod
    def of(cls, out: Path, experiment: str, checkpoint: Path, address: str) -> "DicomResults":
        """For the networks in a checkpoint folder; `address` is that of a server, or ''.

        Raises:
            UserError: a package that is needed is not installed, or the address is none.
        """
        highdicom_module()
        server = Server.at(address) if address else None
        if server is not None:
            server.client()
        model = ModelIdentity(experiment, version("msk_jax"), checkpoint_sha256(checkpoint))
        return cls(out / FOLDER_NAME, model, server)

    @quiet
    def write(
        self,
        files: Sequence[Path],
        found: Sequence[tuple[str, float, str, str]],
        picture: Path,
        shown: str,
        name: str,
    ) -> None:
        """A measurement report and the heat map's picture of one series.

        Args:
            files: of the series.
            found: finding, probability, unit ('' for the patient) and what a unit is called.
            picture: PNG of the heat map.
            shown: the class whose evidence it shows.
            name: of the series' files, a pseudonym.

        Raises:
            UserError: a header lacks what DICOM wants, or the server refuses.
        """
        sources = [read_header(file) for file in files]
        findings = []
        for finding, probability, unit, kind in found:
            place = (kind, unit) if unit in SIDES else (f"{unit} {kind}",) if unit else ()
            findings.append(Finding(finding, probability, *place))
        with Image.open(picture) as opened:
            pixels = np.asarray(opened.convert("RGB"))
        self.folder.mkdir(exist_ok=True)
        objects = {
            "report": measurement_report(sources, findings, self.model),
            "heatmap": secondary_capture(sources, pixels, f"heat map, {shown}", self.model),
        }
        written = []
        for kind, dataset in objects.items():
            written.append(self.folder / f"{name}_{kind}.dcm")
            write(dataset, written[-1])
        if self.server is not None:
            store(self.server, written)

"""Which series, or picture, a row of a manifest means."""

import functools
from collections import defaultdict
from pathlib import Path

from msk_jax.data.cohort.manifest import ManifestRow
from msk_jax.data.sources.names import Places
from msk_jax.data.sources.scan import Scan
from msk_jax.errors import SeriesError
from msk_jax.table_reader import as_number


class SeriesIndex:
    """Finds series by identifier, by folder or by patient."""

    def __init__(self, found: Scan, modality: str):
        """`modality` of the cohort, to choose the series where the manifest names none."""
        self._found, self._modality = found, modality
        self._modalities = modality.split("/")
        self._by_folder: dict[Path, set[str]] = defaultdict(set)
        self._by_patient: dict[str, list[str]] = defaultdict(list)
        self._pictures = {found.place(file): file for file in found.pictures}
        for uid, files in found.series.items():
            self._by_patient[found.headers[uid].patient_id].append(uid)
            for file in files:
                self._by_folder[found.place(file).parent].add(uid)

    def resolve(self, row: ManifestRow) -> tuple[tuple[str, ...], tuple[Path, ...]]:
        """Series identifiers and files of a row.

        Raises:
            SeriesError: there are none, or not all of a series was fetched from a server.
        """
        uids, files = self._at_row(row)
        for uid in uids:
            if uid in self._found.incomplete:
                raise SeriesError(self._found.incomplete[uid])
        return uids, files

    def _at_row(self, row: ManifestRow) -> tuple[tuple[str, ...], tuple[Path, ...]]:
        if row.series_uid:
            if row.series_uid not in self._found.series:
                raise SeriesError(
                    "The DICOM folder has no series of this series_uid. Correct the manifest or "
                    "add the files."
                )
            return (row.series_uid,), self._found.series[row.series_uid]
        if row.path:
            folder = self._found.folder
            exact = self._at_path(folder / row.path)
            return exact or self._at_path(folder / self._places.find(row.path))
        uid = self._only_series(row.patient_id)
        return (uid,), self._found.series[uid]

    @functools.cached_property
    def _places(self) -> Places:
        """All files by their path below the folder, as a manifest has it."""
        files = (file for files in self._found.series.values() for file in files)
        places = (self._found.place(file) for file in (*files, *self._found.pictures))
        return Places(place.relative_to(self._found.folder).as_posix() for place in places)

    def _at_path(self, place: Path) -> tuple[tuple[str, ...], tuple[Path, ...]] | None:
        if place in self._pictures:
            return (), (self._pictures[place],)  # it has no identifiers
        parents = [p for p in self._by_folder if p.is_relative_to(place) or p == place.parent]
        uids = sorted(set().union(*(self._by_folder[parent] for parent in parents)))
        files = {
            uid: [f for f in self._found.series[uid] if self._found.place(f).is_relative_to(place)]
            for uid in uids
        }
        here = tuple(file for uid in uids for file in files[uid])
        return (tuple(uid for uid in uids if files[uid]), here) if here else None

    def _only_series(self, patient_id: str) -> str:
        theirs = self._by_patient.get(patient_id)
        if not theirs:
            alike = any(as_number(other) == as_number(patient_id) for other in self._by_patient)
            raise SeriesError(
                "No file in the DICOM folder has this PatientID"
                + (" (one has it with other leading zeros, or without .0). " if alike else ". ")
                + "Correct the manifest, add the files, or name the series by series_uid or path."
            )
        headers = self._found.headers
        usable = [u for u in theirs if headers[u].modality in self._modalities]
        volumes = [u for u in usable if headers[u].is_volume]
        if not volumes:
            kinds = ", ".join(sorted({headers[u].modality or "unknown" for u in theirs}))
            only = "only localizers or screen captures" if usable else f"only {kinds}"
            raise SeriesError(
                f"This patient has no {self._modality} series but {only}. Add the "
                f"{self._modality} series."
            )
        if len(volumes) > 1:
            raise SeriesError(
                f"This patient has {len(volumes)} {self._modality} series. Name one by series_uid "
                "or path in the manifest."
            )
        return volumes[0]

    def check_owner(self, row: ManifestRow, uids: tuple[str, ...], known: set[str]) -> None:
        """Refuse a series whose own PatientID is that of another patient of the manifest."""
        owners = {self._found.headers[uid].patient_id for uid in uids}
        if any(owner != row.patient_id and owner in known for owner in owners):
            raise SeriesError(
                "The DICOM files of this series carry the PatientID of another patient of the "
                "manifest. Correct series_uid or path."
            )

"""The histology cohort: drawing, rendering and writing an animal."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from msk_jax.box_files import Boxes, Picture, write_box_csv, write_coco
from msk_jax.phantoms.histology.animal import Section, draw_animal, draw_section
from msk_jax.phantoms.histology.lacunae import Lacunae, draw_lacunae
from msk_jax.phantoms.histology.render import Rendering, render
from msk_jax.phantoms.histology.settings import CLASSES, HistologyPhantom
from msk_jax.phantoms.histology.tissue import Tissue, draw_tissue
from msk_jax.phantoms.writing import write_mask

SUFFIXES = {"tiff": ".tif", "png": ".png"}
UM_PER_CM = 10_000


@dataclass(frozen=True)
class Tile:
    """One section, ready to be rendered."""

    section: Section
    tissue: Tissue
    lacunae: Lacunae

    @property
    def name(self) -> str:
        return f"{self.section.animal.patient_id}_{self.section.name}"

    @property
    def boxes(self) -> Boxes:
        """As the annotations say."""
        return Boxes(self.lacunae.boxes, self.lacunae.annotated.astype(np.int32))


def write_patient(
    config: HistologyPhantom, out: Path, number: int
) -> tuple[list[dict], list[dict]]:
    """Render and write one animal; its manifest rows and its rows of true parameters."""
    rows, truths, pictures, boxes = [], [], [], []
    (out / "annotations").mkdir(exist_ok=True)
    for index in range(config.tiles):
        tile = draw_tile(config, number, index)
        rendering = render_tile(tile, config)
        path = tile.name + SUFFIXES[config.format]
        write_picture(out / "dicom" / path, rendering.picture, config.pixel_um)
        write_mask(out, tile.name, rendering.labels, (config.pixel_um / 1000,) * 2)
        pictures.append(Picture(path, config.matrix, config.matrix))
        boxes.append(tile.boxes)
        rows.append(manifest_row(tile, path))
        truths.append(true_parameters(tile))
    annotations = out / rows[0]["cells"]
    write_coco(annotations, pictures, boxes, CLASSES)
    write_box_csv(annotations.with_suffix(".csv"), pictures, boxes, CLASSES)
    return rows, truths


def draw_tile(config: HistologyPhantom, number: int, index: int) -> Tile:
    """Section `index` of animal `number` of the cohort."""
    section = draw_section(config.seed, config.stain_shift, draw_animal(config.seed, number), index)
    tissue = draw_tissue(section.stream(config.seed, "tissue"), config.matrix, config.pixel_um)
    return Tile(section, tissue, draw_lacunae(config, section, tissue))


def render_tile(tile: Tile, config: HistologyPhantom) -> Rendering:
    """Render a tile drawn with `draw_tile`."""
    return render(config, tile.section, tile.tissue, tile.lacunae)


def write_picture(path: Path, picture: np.ndarray, pixel_um: float) -> None:
    """Write an RGB picture [rows, columns, 3] uint8 as TIFF or PNG with the size of its pixels."""
    image, per_cm = Image.fromarray(picture), UM_PER_CM / pixel_um
    if path.suffix == ".tif":
        image.save(path, compression="tiff_adobe_deflate", resolution_unit=3, resolution=per_cm)
        return
    notes = PngInfo()
    notes.add_text("Software", "msk_jax phantom")
    image.save(path, dpi=(per_cm * 2.54,) * 2, pnginfo=notes, compress_level=3)


def empty_share(classes: np.ndarray) -> float:
    """Empty lacunae in a hundred of all."""
    return float(100 * (classes == CLASSES.index("empty lacuna")).mean())


def manifest_row(tile: Tile, path: str) -> dict:
    """What the manifest says of a section; `path` is relative to the folder of pictures, `cells`
    to that of the manifest."""
    animal = tile.section.animal
    return {
        "patient_id": animal.patient_id,
        "section": tile.section.name,
        "path": path,
        "cells": f"annotations/{animal.patient_id}.json",
        "empty_share": round(empty_share(tile.lacunae.annotated), 2),
        "site": animal.site,
        "sex": animal.sex,
    }


def true_parameters(tile: Tile) -> dict:
    """The true parameters of a section: as drawn, whatever the annotations say."""
    animal, lacunae = tile.section.animal, tile.lacunae
    counts = np.bincount(lacunae.classes, minlength=3)
    return {
        "patient_id": animal.patient_id,
        "section": tile.section.name,
        "site": animal.site,
        "stage": round(animal.stage, 4),
        **{
            f"expected_{name.replace(' ', '_')}": round(float(share), 4)
            for name, share in zip(CLASSES, tile.section.shares, strict=True)
        },
        **{name.replace(" ", "_"): int(n) for name, n in zip(CLASSES, counts, strict=True)},
        "true_empty_share": round(empty_share(lacunae.classes), 2),
        "true_dead_share": round(float(100 * (lacunae.classes > 0).mean()), 2),
        "wrongly_annotated": int((lacunae.classes != lacunae.annotated).sum()),
        "touching": int(lacunae.touching.sum()),
        **{
            name: round(float(factor), 4)
            for name, factor in zip(
                ("haematoxylin", "eosin", "residual_stain"), tile.section.stain, strict=True
            )
        },
        "marrow_share": round(tile.tissue.marrow_share, 4),
        "marrow_cells": tile.tissue.cells,
        "blur_um": round(animal.blur_um, 3),
        "noise": round(animal.noise, 3),
        "vignetting": round(animal.vignetting, 4),
    }

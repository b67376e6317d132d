"""Files to images: CT series, volumes of any modality, radiographs, pictures, NIfTI."""

"""Where images and tables come from: folders, archives, DICOMweb servers, cells of a manifest."""

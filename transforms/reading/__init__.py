"""Files to pixels: DICOM, pictures, volumes."""

"""Synthetic mammograms with exact labels. Not patients, not for clinical use.

    random_draws   the random stream: one seed, one result, on every machine
    anatomy        the subject's breasts, and the position of breast, nipple and muscle in a view
    tissue         gland and adipose texture
    details        vessels and calcifications
    mass           the tumor and its position
    exposure       from tissue to gray values
    marker         the burned-in letters
    view           all of the above combined: one `View` = one picture and its masks
    outlines       masks to QuPath GeoJSON, exact along pixel edges
    hospital       a `View` as a DICOM file

Lengths are in mm and grids are (row, column); until the last step the chest wall is at column 0.
"""

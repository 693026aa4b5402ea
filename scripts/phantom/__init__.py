"""Synthetic mammograms with exact labels. Not patients, not for clinical use.

    draws      the random stream: one seed, one result, on every machine
    anatomy    who the subject is, and where breast, nipple and muscle lie in a view
    tissue     gland, adipose texture, vessels, calcifications
    mass       the tumor and where it lies
    exposure   from tissue to gray values
    view       all of the above put together: one `View` = one picture and its masks
    marker     the burned-in letters
    polygons   masks to QuPath GeoJSON, exact along pixel edges
    hospital   a `View` as a DICOM file

Lengths are in mm and grids are (row, column); until the last step the chest wall is at column 0.
"""

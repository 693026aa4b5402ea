"""More hostile texts made by hand: annotations of other tools, tables, records, and files that options name."""

from __future__ import annotations

import json
from typing import Any

from more_images import MORE_IMAGES, Attack, plain, zipped


def _feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": "tumor"}, **properties}}


def _geojsons() -> list[Attack]:
    box = [[1, 1], [9, 1], [9, 9], [1, 1]]
    one = {"type": "Polygon", "coordinates": [box]}
    many = {"type": "FeatureCollection", "features": [_feature(one)] * 100_000}
    holes = _feature({"type": "Polygon", "coordinates": [box] * 100_000})
    nested: Any = [_feature(one)]
    for _ in range(400):
        nested = [nested]
    collection: Any = {"type": "GeometryCollection", "geometries": []}
    coco = {
        "images": [{"id": 1}],
        "annotations": [{"segmentation": {"counts": [2**40], "size": [1, 1]}}],
        "categories": [],
    }
    labelme = {
        "version": "5",
        "shapes": [{"label": "x", "points": box, "shape_type": "polygon"}],
        "imageData": "A" * 10**6,
    }
    via = {"_via_settings": {}, "_via_img_metadata": {"a": {"filename": "/etc/passwd", "regions": [{}]}}}
    texts: dict[str, Any] = {
        "100,000 features": many, "100,000 holes": holes, "400 lists in each other": nested, "COCO": coco, "VIA": via,
        "LabelMe": labelme, "a collection": collection, "a number": 5, "a text": "x", "an empty list": [],
        "infinite": _feature({"type": "Polygon", "coordinates": [[[float("inf"), 0], [1, 1], [2, 0]]]}),
        "depth of points": _feature({"type": "Polygon", "coordinates": [[[[1, 2], [3, 4]], [5, 6], [7, 8]]]}),
        "one number per point": _feature({"type": "Polygon", "coordinates": [[[1], [2], [3]]]}),
        "points as an object": _feature({"type": "Polygon", "coordinates": {"0": box}}),
        "type that is a list": {"type": ["FeatureCollection"], "features": []},
        "properties that are a text": {"type": "Feature", "geometry": one, "properties": "tumor"},
        "names that are numbers": _feature(one, classification={"names": [1, None, [2]]}),
        "a color": _feature(one, classification={"name": "tumor", "color": -(2**70)}),
        "class in another case, with a line break": _feature(one, classification={"name": "Tu\nmor\u202e"}),
    }  # fmt: skip
    packed = [plain(name, ".geojson", json.dumps(content).encode()) for name, content in texts.items()]
    number = b'{"type":"Polygon","coordinates":[[[' + b"9" * 400 + b",1],[2,2],[3,1]]]}"
    return [
        *packed,
        plain("a number of 400 digits", ".geojson", number),
        plain("zip of two", ".geojson.zip", zipped({"a.geojson": b"{}", "b.geojson": b"{}"})),
        plain("zip of zeros", ".geojson.zip", zipped({"a.geojson": bytes(2**28)})),
        plain("zip of a name outside", ".geojson.zip", zipped({"../../a.geojson": json.dumps(_feature(one)).encode()})),
        plain("UTF-16", ".geojson", json.dumps(_feature(one)).encode("utf-16")),
    ]


def _xmls() -> list[Attack]:
    def plist(inside: str) -> bytes:
        return f'<?xml version="1.0"?><plist version="1.0">{inside}</plist>'.encode()

    def roi(points: str, name: str = "Mass", count: int = 3) -> bytes:
        return plist(
            f"<dict><key>Images</key><array><dict><key>ROIs</key><array><dict><key>Name</key><string>{name}</string>"
            f"<key>NumberOfPoints</key><integer>{count}</integer><key>Point_px</key><array>{points}</array></dict></array>"
            "</dict></array></dict>"
        )

    point = "<string>(5.0, 5.0)</string>"
    return [
        plain("500,000 points in one pixel", ".xml", roi(point * 500_000, count=500_000)),
        plain("huge points", ".xml", roi("<string>(1e308, -1e308)</string>" * 3)),
        plain("not numbers", ".xml", roi("<string>(nan, inf)</string>" * 3)),
        plain("spaces", ".xml", roi(f"<string>({' ' * 200_000}1, 2)</string>" * 3)),
        plain("a whole number of 5000 digits", ".xml", plist(f"<integer>{'9' * 5000}</integer>")),
        plain("a date", ".xml", plist("<date>9999-99-99T99:99:99Z</date>")),
        plain("data", ".xml", plist(f"<data>{'A' * 4_000_000}</data>")),
        plain("a name with escapes", ".xml", roi(point * 3, "&#27;[31m&#10;=cmd()")),
        plain("a million keys", ".xml", plist(f"<dict>{'<key>a</key><true/>' * 500_000}</dict>")),
        plain("another encoding", ".xml", b'<?xml version="1.0" encoding="UTF-7"?><plist/>'),
    ]


def _tables() -> list[Attack]:
    head = b"patient_id,left or right breast,image view,abnormality id,abnormality type,assessment,pathology,subtlety\n"
    row = b"P_00001,LEFT,CC,1,mass,4,MALIGNANT,4\n"
    return [
        plain("the same row 200,000 times", ".csv", head + row * 200_000),
        plain("10,000 columns", ".csv", b",".join(b"c%d" % n for n in range(10_000)) + b"\n" + row),
        plain("an open quote", ".csv", head + b'P_00001,"LEFT\n' + row * 10_000),
        plain("a number of 5000 digits", ".csv", head + row.replace(b",1,", b"," + b"9" * 5000 + b",")),
        plain("formulas", ".csv", head + b"=cmd|' /C calc'!A0,LEFT,CC,1,mass,4,@SUM(1),+1\n"),
        plain("UTF-16", ".csv", (head + row).decode().encode("utf-16")),
        plain("carriage returns", ".csv", (head + row).replace(b"\n", b"\r")),
    ]


def _datasets() -> list[Attack]:
    item = {
        "image": "images/s000_L_CC.npy",
        "label": "labels/s000_L_CC.npy",
        "subject": "s000",
        "spacing_mm": [0.1, 0.1],
    }
    good: dict[str, Any] = {
        "name": "x",
        "licence": "",
        "reference": "",
        "labels": {"0": "background", "1": "gland", "2": "tumor"},
    }
    good |= {"ignore_label": None, "training": [item], "validation": [item], "test": [], "format_version": 1}
    changes: dict[str, Any] = {
        "labels with a key of 5000 digits": {"labels": {"0": "background", "9" * 5000: "x"}},
        "labels that are not ASCII digits": {"labels": {"0": "background", "²": "x"}},
        "100,000 classes": {"labels": {str(n): f"c{n}" for n in range(100_000)}},
        "a path outside": {"training": [{**item, "image": "../../../../etc/passwd"}]},
        "an absolute path": {"training": [{**item, "image": "/dev/zero"}]},
        "a root outside": {"root": "/etc"},
        "a root that is a number": {"root": 5},
        "a name of a megabyte": {"name": "x" * 10**6},
        "a name with escapes": {"name": "\x1b[31m[/red]<script>\n=cmd()"},
        "subjects that are lists": {"training": [{**item, "subject": [["a"]]}]},
        "attributes that are deep": {"training": [{**item, "attributes": {"density": {"a": [1]}}}]},
        "the same image 50,000 times": {"training": [item] * 50_000},
        "sections that are objects": {"training": {"0": item}},
        "version of a text": {"format_version": "1; drop"},
        "a range that falls": {"intensity_range": [5, -5]},
    }
    return [plain(how, ".json", json.dumps({**good, **change}).encode()) for how, change in changes.items()]


def _outlines() -> list[Attack]:
    """The table of outlines of CDD-CESM."""

    def table(*shapes: str, size: str = "1", name: str = "P1_L_DM_MLO.jpg") -> bytes:
        head = "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
        rows = "".join(
            f'{name},{size},{{}},1,{n},"{s.replace(chr(34), chr(34) * 2)}",{{}}\n' for n, s in enumerate(shapes)
        )
        return (head + rows).encode()

    ellipse = '{"name":"ellipse","cx":%s,"cy":10,"rx":%s,"ry":5,"theta":%s}'
    polygon = '{"name":"polygon","all_points_x":[%s],"all_points_y":[%s]}'
    zigzag = ",".join(["0", "30"] * 3000)
    texts = {
        "deep": table("[" * 50_000),
        "a number of 400 digits": table(ellipse % ("9" * 400, 5, 0)),
        "an infinite axis": table(ellipse % (10, "1e400", 0)),
        "a huge axis": table(ellipse % (10, "1e307", 0)),
        "a huge angle": table(ellipse % (10, 5, "1e300")),
        "NaN": table(ellipse % ("NaN", 5, 0)),
        "zigzag": table(polygon % (zigzag, zigzag)),
        "100,000 ellipses": table(*[ellipse % (10, 5, 0)] * 100_000),
        "a size of 5000 digits": table(ellipse % (10, 5, 0), size="9" * 5000),
        "a woman of 5000 digits": table(ellipse % (10, 5, 0), name=f"P{'1' * 5000}_L_DM_MLO.jpg"),
        "a name with escapes": table('{"name":"\\u001b[31m\\n"}'),
        "a field of a megabyte": table(polygon % ("1," * 500_000 + "1", "1")),
        "points that are objects": table(polygon % ("{}", "[]")),
        "header only": table(),
        "empty": b"",
        "UTF-16": table(ellipse % (10, 5, 0)).decode().encode("utf-16"),
        "formulas": table(ellipse % (10, 5, 0), name="=cmd()|calc"),
    }
    return [plain(how, ".csv", content) for how, content in texts.items()]


def _options() -> list[Attack]:
    """Files that options name: folds, attributes, members of an ensemble, records of a training."""
    subjects = [f"s{n:03d}" for n in range(6)]
    good = "subject,fold,density\n" + "".join(f"{s},{1 + n % 2},A\n" for n, s in enumerate(subjects))
    texts: dict[str, bytes] = {
        "as it should be": good.encode(),
        "formulas": good.replace(",A\n", ",=cmd()\n").encode(),
        "escapes": good.replace(",A\n", ",\x1b[31m\n").encode(),
        "not a number": good.replace(",A\n", ",NaN\n").encode(),
        "a fold of 5000 digits": good.replace(",1,", f",{'9' * 5000},").encode(),
        "folds of other digits": good.replace(",1,", ",٣,").encode(),
        "folds that are not numbers": good.replace(",1,", ",NaN,").encode(),
        "negative folds": good.replace(",1,", ",-1,").encode(),
        "a cell of a megabyte": good.replace(",A\n", f",{'x' * 10**6}\n").encode(),
        "an open quote": (good + '"').encode(),
        "more cells than columns": good.replace(",A\n", ",A,B,C,D\n").encode(),
        "columns twice": good.replace("density", "subject").encode(),
        "a column without a name": good.replace("density", "").encode(),
        **{name: good.encode(name) for name in ("utf-16", "utf-32", "utf-16-le", "utf-7", "utf-8-sig", "cp037")},
        "NUL": good.replace("A", "\0").encode(),
        "carriage returns": good.replace("\n", "\r").encode(),
        "200,000 rows": (good + "x,1,A\n" * 200_000).encode(),
        "empty": b"",
        "binary": bytes(range(256)) * 50,
        "deep JSON": b"[" * 100_000,
        "members that are numbers": b'{"members": [1, 2]}',
        "members of themselves": b'{"members": ["o.json", "o.json"]}',
        "members elsewhere": b'{"members": ["/etc", "/proc/self"]}',
        "100,000 members": json.dumps({"members": ["/nowhere"] * 100_000}).encode(),
        "JSON with NUL": b'{"members": ["\\u0000", "a\\u0000b"]}',
        "a point that is none": b'{"members": [], "operating_point": {"threshold": NaN}}',
    }
    return [plain(how, ".csv", content) for how, content in texts.items()]


MORE_ATTACKS: dict[str, list[Attack]] = {
    **MORE_IMAGES,
    **{"geojson": _geojsons(), "xml": _xmls(), "csv": _tables(), "dataset": _datasets()},
    **{"cesm": _outlines(), "options": _options()},
}

"""Makes metadata_0.parquet: what pandas and pyarrow write, with everything in it that could trip a reader.

    python make.py metadata_0.parquet
"""

import sys
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

frame = pd.DataFrame(
    {
        "image_path": ["/photos/ä/café.jpg", "relative/b.jpg", None, "", "/photos/雪.jpg", "/photos/f.jpg"],
        "url": ["https://a.example/1", None, "https://a.example/3", None, None, None],
        "key": ["000000000", "000000001", "000000002", "000000003", "000000004", "000000005"],
        "caption": ["a dog in the snow", None, "", "ein Hund 🐕", "雪の中の犬", "a cat"],
        "width": pd.array([640, None, 480, 0, 64, 1], dtype="Float64"),
        "height": pd.array([480, 10, 640, 10, 32, 1], dtype="Int32"),
        "original_width": [4000, 300, None, 50, 128, 2],
        "original_height": [3000, 200, None, 40, 64, 2],
        "license": pd.Categorical(["by", "by-sa", None, "by", "by", "by"]),
        "NSFW": pd.array([False, True, None, False, False, False], dtype="boolean"),
        "similarity": pd.array([0.1, 0.25, float("nan"), float("inf"), -1.5, 0.0], dtype="float32"),
        "half": pa.array([1.5, None, 2.0, 0.5, -1.0, 0.0], pa.float16()).to_pandas(),
        "count": pa.array([2**63, 1, None, 3, 4, 5], pa.uint64()).to_pandas(types_mapper=pd.ArrowDtype),
        "day": [date(2024, 2, 29), None, date(1969, 12, 31), None, None, None],
        "price": [Decimal("12.30"), None, Decimal("-0.05"), None, None, None],
        "tags": [["a", "b"], [], None, ["c"], [], []],
        "exif": [{"iso": 100}, None, {"iso": 200}, None, None, None],
    }
)
table = pa.Table.from_pandas(frame, preserve_index=False)
noon = datetime(2024, 5, 1, 12, 0, 0, 123456)
moments = [noon, None, noon + timedelta(days=1), None, None, None]
table = table.append_column("taken", pa.array(moments, pa.timestamp("us")))
zoned = [moment and moment.replace(tzinfo=timezone.utc) for moment in moments]
table = table.append_column("taken_ns", pa.array(zoned, pa.timestamp("ns", "Europe/Paris")))
table = table.append_column("nothing", pa.nulls(6))
table = table.append_column("blob", pa.array([b"text", b"\xff\xfe", None, None, None, None], pa.binary()))
pq.write_table(table, sys.argv[1], compression="snappy", use_dictionary=True, store_schema=False, row_group_size=4)

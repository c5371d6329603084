"""Seeds for the fuzz targets, made of the golden messages: ``seeds.py FOLDER``.

A seed of frame_fuzz is two bytes (introduce yourself; do not cut) and frames.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

MESSAGES = Path(__file__).parents[1] / "golden" / "messages"
HEADER = struct.Struct("<IHH")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(MESSAGES.glob("*/*.bin")):
        body = path.read_bytes()
        frame = HEADER.pack(len(body), 0, 0) + body
        (folder / f"{path.parent.name}-{path.stem}").write_bytes(b"\x01\x00" + frame)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

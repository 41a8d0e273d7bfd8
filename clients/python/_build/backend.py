"""PEP 517 build backend of package gale.

It packs src/gale into a wheel without any other package, so that
"pip install ./clients/python" works offline. Wheels are reproducible: files are sorted, and
their time is SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/)
or 1980-01-01.
"""

import base64
import hashlib
import io
import os
import pathlib
import re
import tarfile
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "gale"
EPOCH_1980 = 315532800  # the earliest time of a zip archive


def version():
    """Return __version__ of src/gale/__init__.py."""
    text = (SOURCE / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit("src/gale/__init__.py has no __version__")
    return found.group(1)


def metadata():
    """Return the core metadata, https://packaging.python.org/en/latest/specifications/core-metadata/."""
    return (
        "Metadata-Version: 2.1\n"
        "Name: gale\n"
        f"Version: {version()}\n"
        "Summary: Client and task worker of the Gale server\n"
        "Requires-Python: >=3.9\n"
        "Classifier: Typing :: Typed\n"
        "Description-Content-Type: text/markdown\n"
        "\n" + (ROOT / "README.md").read_text(encoding="utf-8")
    )


def modification_time():
    return max(int(os.environ.get("SOURCE_DATE_EPOCH", EPOCH_1980)), EPOCH_1980)


def sources():
    """Return the files of the package, sorted by name."""
    return sorted(p for p in SOURCE.rglob("*") if p.suffix == ".py" or p.name == "py.typed")


def write_wheel(folder, files):
    """Write a wheel with the given files by name, and return its own name."""
    info = f"gale-{version()}.dist-info"
    files = dict(files)
    files[f"{info}/METADATA"] = metadata().encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: gale\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(content)}")
    record.append(f"{info}/RECORD,,")
    files[f"{info}/RECORD"] = ("\n".join(record) + "\n").encode()
    wheel = f"gale-{version()}-py3-none-any.whl"
    moment = time.gmtime(modification_time())[:6]
    with zipfile.ZipFile(os.path.join(folder, wheel), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, moment)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return wheel


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    files = {p.relative_to(SOURCE.parent).as_posix(): p.read_bytes() for p in sources()}
    return write_wheel(wheel_directory, files)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return write_wheel(wheel_directory, {"gale.pth": f"{SOURCE.parent}\n".encode()})


def build_sdist(sdist_directory, config_settings=None):
    top = f"gale-{version()}"
    kept = [ROOT / "pyproject.toml", ROOT / "README.md", *sorted((ROOT / "_build").glob("*.py")), *sources()]
    with tarfile.open(os.path.join(sdist_directory, top + ".tar.gz"), "w:gz") as archive:
        for name, content in [("PKG-INFO", metadata().encode()), *((p.relative_to(ROOT).as_posix(), p.read_bytes()) for p in kept)]:
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mtime = len(content), modification_time()
            archive.addfile(entry, io.BytesIO(content))
    return top + ".tar.gz"

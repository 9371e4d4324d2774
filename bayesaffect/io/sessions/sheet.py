"""What one session.xml says: whose session it is, which clip, which files, which answers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from bayesaffect.errors import InputError
from bayesaffect.io.layout import number

AGAIN = "copy it again from the data base"


@dataclass(frozen=True)
class Sheet:
    """One session.xml; ``bdf`` and ``avi`` are the files it names, there or not."""

    path: Path
    person: str
    trial: int
    stimulus: bool
    stimulus_name: str
    bdf: Path
    avi: Path | None
    attributes: dict[str, str]

    @property
    def subject(self) -> str:
        return f"S{int(self.person):02d}" if self.person.isdigit() else self.person

    @property
    def name(self) -> str:
        """``S03/T07`` for the seventh stimulus, ``S03/N07`` for the neutral clip before it."""
        return f"{self.subject}/{'T' if self.stimulus else 'N'}{self.trial:02d}"

    @property
    def order(self) -> tuple:
        """By subject, then trial; a neutral clip comes before its stimulus."""
        return (int(self.person) if self.person.isdigit() else 0, self.person, self.trial, self.stimulus)

    def value(self, name: str) -> float | None:
        """A number among the attributes; ``None`` when it is absent or empty."""
        text = self.attributes.get(name, "").strip()
        if not text:
            return None
        value = number(text)
        if value is None:
            what = f'{name}="{text}" is not a number'
            raise InputError(what, where=self.path, remedy="correct it or remove the attribute")
        return value


def read_sheet(path: Path) -> Sheet:
    """Read a session.xml.

    A session is a stimulus by isStim="1"; where that is absent the BDF's name tells (_S_ or _N_), and else whether
    there is any felt* attribute. The trial is the one in the BDF's name, or (cutNr + 1) // 2. Of several videos
    the one marked color="1" is taken, then the one with "C1" in its name.

    Raises
    ------
    InputError : the file is missing or no XML, belongs to the tagging experiment, or names no subject, BDF or trial.
    """
    if not path.is_file():
        raise InputError("session.xml is missing", where=path, remedy="copy it from the data base")
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, ValueError, LookupError, OSError) as error:
        raise InputError(f"is no readable XML ({error})", where=path, remedy=AGAIN) from None
    if "tagging" in root.get("experimentType", "").lower():
        remedy = "nothing to do: it has no emotional clip"
        raise InputError("belongs to the tagging experiment of the data base", where=path, remedy=remedy)
    person = ((root.find("subject").get("id") or "") if root.find("subject") is not None else "").strip()
    tracks = root.findall("track")
    bdf = [t.get("filename") for t in tracks if t.get("filename", "").lower().endswith((".bdf", ".edf"))]
    colour = [t for t in tracks if t.get("type") == "Video" and t.get("filename")]
    colour.sort(key=lambda t: (t.get("color") != "1", "C1" not in t.get("filename")))
    if not bdf or not re.fullmatch(r"[\w.-]+", person):
        raise InputError("names no subject or no BDF", where=path, remedy=AGAIN)
    cut = root.get("cutNr", "").strip()
    matched = re.search(r"Trial(\d+)", bdf[0])
    if not matched and not cut.isdigit():
        what = "neither the BDF's name nor cutNr tells the trial"
        raise InputError(what, where=path, remedy="restore the original name")
    trial = int(matched[1]) if matched else (int(cut) + 1) // 2
    stimulus = _is_stimulus(root, bdf[0])
    film = root.get("mediaFile") or f"cut {cut or trial}"
    avi = path.parent / colour[0].get("filename") if colour else None
    return Sheet(
        path, person, trial, stimulus, film if stimulus else "neutral", path.parent / bdf[0], avi, dict(root.attrib)
    )


def _is_stimulus(root: ET.Element, bdf: str) -> bool:
    said = root.get("isStim", "").strip()
    if said:
        return said == "1"
    named = re.search(r"_([SN])_", bdf)
    return named[1] == "S" if named else any(name.startswith("felt") for name in root.attrib)

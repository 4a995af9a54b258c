"""Workbooks as other programs write them, made from XML by hand: every cell as given."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
STYLES = (
    '<numFmts count="3"><numFmt numFmtId="164" formatCode="dd\\.mm\\.yyyy"/>'
    '<numFmt numFmtId="165" formatCode="[h]:mm:ss"/>'
    '<numFmt numFmtId="166" formatCode="0.00&quot;days&quot;"/>'
    '</numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/><xf numFmtId="20"/>'
    '<xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="166"/></cellXfs>'
)


def inline(*texts: str) -> str:
    """A row's cells with these texts."""
    return "".join(f'<c t="inlineStr"><is><t>{text}</t></is></c>' for text in texts)


def rows(*cells: str) -> str:
    """The rows of a sheet, from these cells."""
    return "<sheetData>" + "".join(f"<row>{row}</row>" for row in cells) + "</sheetData>"


def workbook(
    path: Path,
    sheets: Mapping[str, str],
    shared: Sequence[str] = (),
    hidden: Sequence[str] = (),
    extra: Mapping[str, str] | None = None,
    settings: str = "",
) -> Path:
    """A workbook whose sheets hold this XML. shared: the XML of each text that cells share."""
    names = list(sheets)
    states = ["hidden" if name in hidden else "visible" for name in names]
    listed = "".join(
        f'<sheet name="{name}" sheetId="{i}" state="{state}" r:id="rId{i}"/>'
        for i, (name, state) in enumerate(zip(names, states, strict=True), 1)
    )
    related = "".join(
        f'<Relationship Id="rId{i}" Type="{RELATIONS}/worksheet" Target="worksheets/sheet{i}.xml"/>'
        for i, _ in enumerate(names, 1)
    )
    related += f'<Relationship Id="s" Type="{RELATIONS}/styles" Target="styles.xml"/>'
    related += f'<Relationship Id="t" Type="{RELATIONS}/sharedStrings" Target="/xl/sharedStrings.xml"/>'
    office = f'<Relationship Id="a" Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/>'
    book = f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}">'
    parts = {
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}">{office}</Relationships>',
        "xl/workbook.xml": f"{book}{settings}<sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}">{related}</Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{MAIN}">{STYLES}</styleSheet>',
        "xl/sharedStrings.xml": f'<sst xmlns="{MAIN}">{"".join(f"<si>{text}</si>" for text in shared)}</sst>',
        **{
            f"xl/worksheets/sheet{i}.xml": f'<worksheet xmlns="{MAIN}">{xml}</worksheet>'
            for i, xml in enumerate(sheets.values(), 1)
        },
        **(extra or {}),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, xml in parts.items():
            archive.writestr(name, xml)
    return path

"""Mark what is generated, in the file itself.

XMP with `Iptc4xmpExt:DigitalSourceType` (IPTC Photo Metadata Standard, news-code vocabulary "Digital Source Type") and
`xmp:CreatorTool`; the same in PNG, JPEG and WebP. Same arguments, same bytes: no date is written.
"""

from __future__ import annotations

import importlib.metadata
import io
import re
from functools import cache
from typing import Literal
from xml.sax.saxutils import quoteattr, unescape

from PIL import Image

SourceType = Literal["compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia", "compositeSynthetic"]
"""A photo with generated parts; generated altogether; a photo with synthetic parts that no trained model made."""

NEWSCODES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_TEMPLATE = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    " xmp:CreatorTool={tool} Iptc4xmpExt:DigitalSourceType={kind}/></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="w"?>'
)


@cache
def software() -> str:
    """Name and version of this program."""
    try:
        return f"unmask {importlib.metadata.version('unmask')}"
    except importlib.metadata.PackageNotFoundError:
        return "unmask"


def xmp_packet(source_type: SourceType, detail: str = "") -> bytes:
    """XMP packet that names the source type and the program; `detail` (such as the inpainting system) follows its name."""
    tool = f"{software()} ({detail})" if detail else software()
    return _TEMPLATE.format(tool=quoteattr(tool), kind=quoteattr(NEWSCODES + source_type)).encode()


def read_provenance(data: bytes) -> dict[str, str]:
    """`digital_source_type` and `software` of an encoded PNG, JPEG or WebP; empty when it carries no such mark."""
    with Image.open(io.BytesIO(data)) as image:
        packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else packet
    found: dict[str, str] = {}
    for name, key in (("Iptc4xmpExt:DigitalSourceType", "digital_source_type"), ("xmp:CreatorTool", "software")):
        match = re.search(rf"{name}=([\"'])(.*?)\1", text)
        if match:
            found[key] = unescape(match[2], {"&quot;": '"', "&apos;": "'"}).removeprefix(NEWSCODES)
    return found

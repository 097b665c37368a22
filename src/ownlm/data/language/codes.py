"""Names of languages: ISO 639-1 codes are ours; what others call them is translated, or refused with the nearest name.

`no` asks for both written forms (nb, nn), `sh` for hr, bs and sr; regions and scripts (pt-BR, zh_Hant) are cut off,
since the table does not tell them apart.
"""

from __future__ import annotations

import difflib
from functools import cache

from ownlm.data.language import table
from ownlm.data.language.scripts import ONLY_SCRIPT
from ownlm.errors import UsageError

UNKNOWN = "unknown"
_SEVERAL = {"no": ("nb", "nn"), "nor": ("nb", "nn"), "sh": ("hr", "bs", "sr"), "hbs": ("hr", "bs", "sr")}
_OTHER_NAMES = dict(  # a table is easier read as words than as a list of strings
    pair.split("=")
    for pair in """iw=he in=id mo=ro fil=tl cmn=zh prs=fa ekk=et lvs=lv khk=mn zsm=ms swh=sw arb=ar pes=fa als=sq
    afr=af ara=ar aze=az azj=az bel=be bul=bg ben=bn bos=bs cat=ca ces=cs cze=cs cym=cy wel=cy dan=da deu=de ger=de ell=el
    gre=el eng=en epo=eo spa=es est=et eus=eu baq=eu fas=fa per=fa fin=fi fra=fr fre=fr gle=ga guj=gu heb=he hin=hi hrv=hr
    hun=hu hye=hy arm=hy ind=id isl=is ice=is ita=it jpn=ja kat=ka geo=ka kaz=kk kor=ko lat=la lug=lg lit=lt lav=lv mri=mi
    mao=mi mkd=mk mac=mk mon=mn mar=mr msa=ms may=ms nob=nb nld=nl dut=nl nno=nn pan=pa pol=pl por=pt ron=ro rum=ro rus=ru
    slk=sk slo=sk slv=sl sna=sn som=so sqi=sq alb=sq srp=sr sot=st swe=sv swa=sw tam=ta tel=te tha=th tgl=tl tsn=tn tur=tr
    tso=ts ukr=uk urd=ur vie=vi xho=xh yor=yo zho=zh chi=zh zul=zu amh=am mya=my bur=my khm=km lao=lo sin=si mal=ml kan=kn
    ori=or bod=bo tib=bo div=dv""".split()  # noqa: SIM905
)


@cache
def known() -> tuple[str, ...]:
    """Every code that identification can answer, sorted."""
    return tuple(sorted({*table.load().languages, *ONLY_SCRIPT}))


def normal(name: str) -> tuple[str, ...]:
    """The codes that a user's name stands for. Raises UsageError for a language that cannot be identified."""
    code = name.strip().lower().replace("_", "-").partition("-")[0]
    found = _SEVERAL.get(code, (_OTHER_NAMES.get(code, code),))
    if all(one in known() for one in found):
        return found
    close = "".join(f"did you mean {near}? " for near in difflib.get_close_matches(code, known(), n=1))
    raise UsageError(
        "This language cannot be identified.",
        repr(name),
        f"{close}known: {' '.join(known())}",
    )

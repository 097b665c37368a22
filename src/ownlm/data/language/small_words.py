"""The small words of languages: articles, pronouns, prepositions, conjunctions, forms of "to be" and the like.

Written from grammars, not counted on any corpus. They say two things that letter n-grams cannot. A sentence full of
foreign names is still held together by its own small words ("Thalpomys generoko animalia da" is Basque). And a
text that has hardly any small word of the language its letters resemble is in a language not known here.
Languages that have a script to themselves need none.
"""

from __future__ import annotations

from functools import cache

LISTED: dict[str, str] = {
    "af": """die en van het in is nie wat vir om te met op aan hy sy dit ek ons julle hulle was sal kan moet word deur
        daar ook maar of as by uit na oor 'n baie een hierdie wees dat tot toe haar so nog""",
    "ar": """في من على إلى عن أن إن التي الذي هذا هذه كان كانت ما لا لم و أو ثم مع كل بعد قبل بين قد هو هي ذلك حيث
        عند غير كما أي لكن حتى الذين عام""",
    "az": """və bir bu ilə üçün də da ki o olan olaraq kimi onun daha sonra isə edir var çox hər ən ya idi edən qədər
        görə ancaq amma biz mən olduğu olub bütün üzrə həm lakin artıq""",
    "be": """і у ў на з не што да як але гэта па ад за для яго яе быў была былі пры ці таксама які якая якія каб мы ён
        яна яны ужо так калі пра або вельмі толькі яшчэ ды гэтага гэты""",
    "bg": """и на в за да се от с не е по че са това като или към при през след до но който която които той тя ще беше
        във със много само още има ги му си бъде също може тази този те как както""",
    "bs": """i je u se na da su za od s sa koji koja koje kao iz do ne bi ili ali o što po nije bio bila bili biti može
        samo još jer njegov kako već ovo to te nakon""",
    "ca": """de la i el que a en els les un una per amb és no del al dels se va són però més com aquest aquesta seva ha
        pel també entre o hi aquests molt seu ser tot ja on on han fins quan perquè això sobre qui""",
    "cs": """a v na se je že s z do o pro to ale jako k i by za jsou od po ve jeho které který která byl byla bylo nebo
        není až při co jak jen také pak už však když podle jsem před ze ke být tak má""",
    "cy": """y yr yn a i o ar mae ei am gan oedd yw wedi fod hyn neu ond ac hefyd eu bod at hwn gyda roedd ni nid cael
        fel bydd mewn ag nad sydd o'r i'r a'r dan wrth rhwng hi ef pan""",
    "da": """og i at det er en til på af for den med de ikke som der et har var fra men om han vi jeg så kan eller hun
        blev ved efter også skal være sig mere hvor over nu når ud havde op deres hans bliver""",
    "de": """der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er
        hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber vor zur bis""",
    "en": """the of and to in a is that for it as was with be by on not he his but at are this have from or had an they
        which you were their been has will would who there if we can about when its more no out what also i""",
    "eo": """la de kaj en estas al ne ke li por kun ĝi estis el ili pri per sur mi tio sed ankaŭ aŭ kiu kiuj tiu kiel
        unu oni plej post da pli ĉi kiam ĉe dum inter nur ĝis tre sia ĉu jam estas kio vi ni ŝi""",
    "es": """de la que el en y a los del se las por un para con no una su al lo como más pero sus le ha o este sí porque
        esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante es son fue era ser está""",
    "et": """ja on ei et see kui ka oli mis ta selle oma aga siis või kes nii ning mida seda ma nad olid olla võib veel
        kuid pole väga siis selles meie ole juba sest üle kus nagu pärast ainult aastal""",
    "eu": """eta da ez du bat zen dira izan ere den dute zuen baina egin edo beste baino bere zuten dela hau izango oso
        dituen duen dago zer hori gero arte urte behar ziren dut dugu batean bezala ditu diren""",
    "fa": """و در به از که این را با است برای آن یک خود تا شد بر هم نیز بود شده می یا اما ها های کرد او ما شود باید
        دارد پس هر نمی بی اگر چه وی کند دو""",
    "fi": """ja on ei että oli se hän myös mutta kun ovat ole niin tai joka sen jos kuin voi vain hänen mukaan jo kanssa
        sekä ne jotka mitä nyt olla ollut vielä sitten koska olivat siitä tämän mikä me minä vuonna""",
    "fr": """de la le et les des en un une du est que dans qui par pour il au sur ne se pas plus avec son ce sont cette
        ou mais elle nous vous je sa aux été ont comme à l d s ces leur fait être même a c'est qu""",
    "ga": """an na agus a i ar is go le ag do bhí tá sé sin seo ní ach as mar leis raibh chun nó faoi sa atá é siad air
        ó den don ina bhfuil féin eile gur ann sí iad dá idir bliain""",
    "hi": """है के में की का और से को हैं पर इस एक यह ने भी नहीं कि था कर तो हो जो या वह थे थी लिए अपने कुछ साथ बाद किया
        ये हुए गया तक ही उनके इसके करने मैं हम था जाता रहा""",
    "hr": """i je u se na da su za od s sa koji koja koje kao iz do ne bi ili ali o što po nije bio bila bili biti može
        samo još jer njegov kako već ovo to te nakon""",
    "hu": """a az és hogy nem is egy van volt azt ez meg de csak már ki mint el fel még csak kell vagy ha aki amely ezt
        minden után lehet szerint sem majd olyan le pedig között így mert én ő nagyon lesz voltak""",
    "id": """yang dan di dari untuk dengan pada ini itu adalah dalam tidak akan ke oleh sebagai juga atau telah karena
        dia bisa ia mereka saya kami kita ada lebih sudah dapat tersebut saat orang seperti lain menjadi bahwa""",
    "is": """og í að á er sem það við um var með fyrir ekki en hann til af því eru frá eða hefur þessi hún ég þegar sér
        hafa þetta vera um upp þar svo eftir voru hans mjög bara nú verið þeir við einn""",
    "it": """di e il la che in a per un del è non una i con le si da al dei come della più sono nel ma anche gli ha lo
        alla delle o se questo ed suo stato dal ad ci essere loro dopo tra era cui nella sua dalla mi fu""",
    "kk": """және бұл мен үшін деп да де бір бар ол осы туралы болып сол болды емес керек қазақ екі жоқ еді бойынша
        кейін оның сондай ғана енді ең қазақстан біз отыр жылы дейін болған""",
    "la": """et in est ad non ut cum quod qui sunt ex de per quae a ab sed si etiam atque ac aut nec esse hoc id quam
        eius enim vel fuit pro se inter autem haec post apud erat ante sub sive quoque anno cuius eo""",
    "lg": """n'omu nga mu ku era na okuva abantu bwe ne ye ya wa mu ba kuba naye oba kya nti ab'omu gwe ate bonna olwa
        nnyo eyo bano kino kati gye wano oyo ekya eby""",
    "lt": """ir yra kad į iš su tai buvo bet kaip ne jo nuo apie dėl tik po už o arba šio jų prie ar taip iki jau dar
        kuris kurie jis jos labai savo per būti ji metų aš""",
    "lv": """un ir no ar par uz ka arī tas bet kā tika lai bija gan pēc līdz vai ko kas viņš nav kad savu to šo pie tiek
        jau es ja ļoti tā vēl gada tikai ne būt viņa kurš kuri""",
    "mi": """te o ki i ngā he e me nga ka mō kua tēnei hoki tana kia kei ana ai ko mai ake iho tōna ia rātou tētahi
        tenei ētahi koe rā nei tonu atu ahau hei nā no nō ana wā""",
    "mk": """и на во од за се да со е не што го ги ја по како беше но ќе или кој која кои тоа сите има до при ова од
        еден овој многу оваа само дека бил биле каде нивните му уште околу""",
    "mn": """нь энэ бол юм байна ба болон гэж ч уу гэсэн бөгөөд тэр бас их монгол оны бүх эсвэл байсан дээр түүний
        хүн гэх өөр өөрийн мөн болох шүү л""",
    "mr": """आहे आणि या व हा ही हे ते तो ती च्या मध्ये त्या आहेत होते होता होती नाही पण तर एक असे केले त्यांनी यांनी असून
        तसेच साठी म्हणून किंवा झाली झाले काही मी येथे करा यांच्या त्यांच्या हे आपल्या आपण""",
    "ms": """yang dan di dari untuk dengan pada ini itu adalah dalam tidak akan ke oleh sebagai juga atau telah kerana
        dia boleh ia mereka saya kami kita ada lebih sudah dapat tersebut saat orang seperti lain menjadi bahawa""",
    "nb": """og i det er en til på av for den med de ikke som et har var fra men om han vi jeg så kan eller hun å ble
        ved etter også skal være seg mer hvor over nå når ut hadde opp deres hans blir dette""",
    "nl": """de van het een en in is dat op te die voor met zijn niet aan er om ook als dan maar bij of uit door nog naar
        heeft hij ze was werd wordt worden deze over ik je had ten meer zich dit wel kan geen tot""",
    "nn": """og i det er ein til på av for den med dei ikkje som eit har var frå men om han vi eg så kan eller ho å vart
        ved etter også skal vere seg meir der over no når ut hadde opp deira hans blir dette""",
    "pl": """w i na z do się nie jest to że o jak po od przez za dla a jego co ale oraz są tym być był która który które
        już tylko ich może tak przy także roku czy lub jako jej ma były było też go ze jeszcze""",
    "pt": """de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu
        sua ou ser quando muito há nos já está eu também só pelo pela até isso ela entre era depois sem mesmo são""",
    "ro": """de și în a la cu pe care nu este un din mai o să pentru ca că al ce sau au fost prin se i lui sunt dar după
        acest această le îl îi despre fi era cel cea foarte ei numai până fără unei unui si sa""",
    "ru": """и в не на что с он по как это но из за у к от для же его так все о вы мы только был при или было я бы уже
        ее чтобы до была их может если который которые также года быть еще то она они есть""",
    "sk": """a v na sa je že s z do o pre to ale ako k aj by za sú od po vo jeho ktoré ktorý ktorá bol bola bolo alebo
        nie až pri čo len tiež už však keď podľa som pred zo ku byť tak má i jej si""",
    "sl": """in je v na se za da so z s ki pa ne tudi po kot od bi ali iz ni če bil bila bilo do pri še lahko o ter tem
        kar sem ko samo več njegov zelo smo ob med biti jih sta bo kako mu""",
    "sn": """uye kuti kana asi mu ne pa ku wa ya dza va se ndiye izvi vanhu iyi uyo iye ichi zvakare zvino nekuti kubva
        iri ndi chete vose zvose saka munhu vake rake yake kwete here ake""",
    "so": """iyo ka ku oo waxa waa in uu ee ah la ay waxaa si ayaa badan ama soo u wuxuu aan loo dhan kala uga kasta
        isku laga kuwa waxay lagu kale sida aad jira marka ayuu leh""",
    "sq": """e të në i dhe për me një nga është që nuk më se ka u ai si por kjo ky janë ishte do ta edhe tij kishte kur
        pas ndërsa a ose mund duke tyre prej këtë saj deri sa""",
    "sr": """и је у се на да су за од с са који која које као из до не би или али о што по није био била били бити може
        само још јер његов како већ ово то те након""",
    "st": """le ya ka ho ba a ke e tse hore ha mme o ha bo di tsa se wa sa mo fela empa kapa moo bona hae jwale ena
        haholo hape eo teng bang kaofela batho ntle nako etsa hona jwalo""",
    "sv": """och i att det som en på är av för den med till inte har de ett om var från men så kan han vi jag eller hon
        vid efter även ska vara sig mer där över nu när ut hade upp blir mycket också än deras sin under""",
    "sw": """ya na wa kwa ni katika za la kuwa cha hii hiyo huo yake wake kama pia lakini au ili hivyo ambayo ambao watu
        sana hayo huu bila kila wao yeye hili baada kuna si alikuwa mwaka vya""",
    "tl": """ng sa ang na mga at ay ni si ito para hindi ko siya may kanyang niya o kung isang mula pa din rin nang ako
        lang mo ka nila sila dahil lamang kay ngunit bilang noong isa""",
    "tn": """le ya ka go ba a ke e tsa gore fa mme o ga bo di tse se wa sa mo fela mme kgotsa teng bone gagwe gompieno
        ene thata gape eo nang bangwe botlhe batho kwa jaaka dikgang jang jalo jwa lo nne""",
    "tr": """ve bir bu için ile de da çok olarak daha gibi ne o en sonra olan kadar ise ama her var değil ya ki mi onun
        tarafından ben sadece şey mı yok olduğu ancak veya hem biz bunu iki göre""",
    "ts": """na ku hi ya wa ka va leswaku ni swi ta u ri tani loko kumbe eka hikuva swa xi laha yi n'wana vanhu endla
        sweswi hinkwavo kutani kambe leyi lexi lava mi ti xa""",
    "uk": """і в у на з не що до та як але це за від для його її був була були при або також який яка які щоб ми він
        вона вони вже так коли про й дуже тільки ще є після року бути має цього""",
    "ur": """کے میں کی کا اور سے کو ہے ہیں پر اس ایک یہ نے بھی نہیں کہ تھا کر تو ہو جو یا وہ تھے تھی لئے لیے اپنے کچھ ساتھ
        بعد کیا گیا تک ہی ان کرنے ہم رہا""",
    "vi": """và của là có được trong cho một không các với những người để khi này đã ở như từ cũng đến về nhiều ra trên
        phải thì năm đó vào tôi bị rất nhưng làm sẽ theo""",
    "xh": """ukuba kwaye okanye xa kodwa ngokuba yaye nje kunye kuba ukuze phambi emva apha oku le ke kwe loo wakhe
        yakhe bonke abantu nangona njengoko kakhulu kungekho umntu ndi apho into zonke nokuba""",
    "yo": """ni ti ati ó àti ní tí àwọn awọn fún wọn lati láti ọdún je jẹ won fi si sì a mo kan bi o n ń tele re rẹ
        kò nínú ninu pe pé fun eyi yìí nigba sinu ile orile ede gbogbo""",
    "zu": """ukuthi futhi noma uma kodwa ngoba ukuze lapho kanye nje ngokuthi kakhulu manje lokhu le ke loku wakhe
        yakhe bonke abantu nakuba njengoba kungekho umuntu okuthi khona into yonke zonke nokuthi kulo""",
}  # fmt: skip


_AROUND = ' .,;:!?()[]{}<>/|*_"«»„“”‘…–—-।،؟؛'


def words_of(text: str) -> list[str]:
    """What stands between spaces in a lower-cased text, without the punctuation around it."""
    return [word.strip(_AROUND) for word in text.replace("\u2019", "'").split()]


@cache
def speakers() -> dict[str, tuple[str, ...]]:
    """Small word -> the languages that have it, sorted."""
    found: dict[str, set[str]] = {}
    for language, words in LISTED.items():
        for word in words.split():
            found.setdefault(word, set()).add(language)
    return {word: tuple(sorted(languages)) for word, languages in found.items()}

"""Words that tell apart languages whose letters do not: Croatian, Bosnian, Serbian; Indonesian, Malay; Bokmål, Nynorsk,
Danish.

Written from grammars and the well-known word pairs of these languages (hr tjedan, bs sedmica, sr nedelja; id karena, ms
kerana; nb ikke, nn ikkje), not counted on any corpus. A word stands under a language when a text in one of its
neighbours would hardly use it; words that two of three share stand under both.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

GROUPS: tuple[dict[str, str], ...] = (
    {
        "hr": """tko netko nitko svatko tjedan tjedna tjednu tjedana tjedno tisuća tisuće tisuću siječnja veljače ožujka
            travnja svibnja lipnja srpnja kolovoza rujna listopada studenoga studenog prosinca zrakoplov glazba
            glazbe glazbeni glazbenik povijest povijesti povijesni sveučilište sveučilišta kazalište kazališta
            nogomet nogometni vlak kolodvor gospodarstvo gospodarstva gospodarski gospodarskog tvrtka tvrtke tvrtki
            izvješće izvješća sustav sustava sustavu uporaba uporabu hrvatska hrvatske hrvatski hrvatskoj hrvatskog
            hrvatskih hrvatsku zagreb zagrebu zagreba zagrebački kuna splitu rijeci točka točno točke europa europe
            europi europski europske europskoj europsku europskih žlica zrak otoka otoku sudionik sudionici
            sudionika sudjelovanje sudjelovati sudjeluje natjecanje natjecanja ravnatelj redatelj skladatelj
            postotak postotka stupanj stupnja stupnjeva obitelj obitelji dojam utrka uvjet uvjeti uvjeta uvjete
            znanost znanosti znanstveni znanstvenik znanstvenici čimbenik tijekom glede nazočan unatoč nadalje
            primjerice osobito odvjetnik tajnik priopćenje priopćio priopćeno milijun milijuna milijuni županija
            županije županiji županijski sabor sabora proračun proračuna kupnja potpora potpore računalo računala
            veleposlanik ljekarna liječnik liječnika ozljeda ozljede vojarna postrojba postrojbe uhićen uhićeni
            uopće općenito opći općine općina općini uglavnom rabi djelatnik djelatnici kruh susret natječaj
            natječaja mrežne dionica dionice vrhnje vrijeme prije poslije gdje ovdje dijete djeca djece riječ riječi
            mjesto mjesta mjestu svijet svijetu svijeta predsjednik predsjednika čovjek čovjeka lijepo mlijeko
            vidjeti živjeti dio dijela rješenje tijelo tijela primjer primjera vijest zahtjev uspjeh cijena cijene
            promjena promjene pjesma zvijezda dvije djevojka svjetski pobjeda sljedeći sljedeće posljednji
            posljednje mjesec mjeseca rijeka rijeke vrijednost vrijednosti vjera vjeru uvijek sjever sjeverni dječak
            tisućljeća stoljeća stoljeću vjerojatno sigurnost utjecaj""",
        "bs": """takođe sedmica sedmice sedmicu sedmici hiljada hiljade hiljadu januara februara marta aprila juna jula
            augusta avgusta septembra oktobra novembra decembra historija historije historiji historijski
            univerzitet univerziteta univerzitetu pozorište fudbal fudbalski fudbaler privreda privrede privredni
            izvještaj izvještaja izvještaju sistem sistema sistemu bosna bosne bosni bosnu bosanski bosanske
            bosanska hercegovina hercegovine hercegovini bih sarajevo sarajevu sarajeva sarajevski sarajevske tuzla
            tuzli tuzle mostar mostaru zenica zenici entitet entiteta federacija federacije federaciji hljeb tačka
            tačno tačke evropa evrope evropi evropski evropske evropskoj evropsku vazduh učesnik učesnici učesnika
            učešće takmičenje takmičenja predsjedništvo predsjedništva saobraćaj stepen stepena porodica porodice
            porodici uslov uslovi uslova uslove nauka nauke naučnik naučnici tokom uprkos milion miliona milioni
            kanton kantona kantonu kantonalni budžet budžeta kupovina ambasador apoteka ljekar ljekara povreda
            povrede jedinica uhapšen uhapšeni krivični lahko mehko kahva polahko ko neko niko općina općine općini
            uopće općenito džamija džamije islamska islamske islamski bošnjak bošnjaci bošnjaka bošnjački ohr sda
            dženaza parlamentarne parlamentarna izetbegović hiljadama februar januar septembar oktobar novembar
            decembar august km radnik radnici pomoć šehid srebrenica srebrenici vrijeme prije poslije gdje ovdje
            dijete djeca djece riječ riječi mjesto mjesta mjestu svijet svijetu svijeta predsjednik predsjednika
            čovjek čovjeka lijepo mlijeko vidjeti živjeti dio dijela rješenje tijelo tijela primjer primjera vijest
            zahtjev uspjeh cijena cijene promjena promjene pjesma zvijezda dvije djevojka svjetski pobjeda sljedeći
            sljedeće posljednji posljednje mjesec mjeseca rijeka rijeke vrijednost vrijednosti vjera vjeru uvijek
            sjever sjeverni dječak vjerovatno historiju vijek vijeka vijeku uticaj""",
        "sr": """gde ovde vreme vremena posle pre uvek dete deca dece reč reči mesto mesta mestu svet svetu sveta
            predsednik predsednika srbija srbije srbiji srbiju srpski srpske beograd beogradu beograda čovek čoveka
            lepo mleko videti živeti hteo nedelja nedelje nedelju delo dela deo rešenje rešiti telo tela opština
            opštine opštini uopšte opšte saopštio saopštenje izveštaj primer primena verovatno vest vesti bezbednost
            zahtev uspeh uspeo uticaj obezbediti cena cene cenu promene promena pesma pesme zvezda zvezde dve obe
            devojka svetski svetskog pobeda pobede pobedu sledeći sledeće poslednji poslednje takođe hiljada hiljade
            januara februara marta aprila juna jula avgusta septembra oktobra novembra decembra univerzitet
            univerziteta sistem sistema evropa evrope evropske evropski vazduh učesnik učesnici takmičenje saobraćaj
            stepen porodica porodice uslov uslovi uslova nauka nauke tokom uprkos milion miliona budžet budžeta ko
            neko niko pozorište fudbal istorija istorije istoriji hleb tačka tačno dinara vrednost vrednosti veru
            vera veruje čoveku obezbedi savest savesti mere mera meri sever severni levo
            sneg nemački ponedeljak reka reke reku leto leta letu smeštaj razumeti živeo živela voleo volela želeo
            lek lekovi lekar lekara ceo cela celo celog deluje pobediti odeljenje sećanje sedište mesec meseca
            meseci vek veka veku svako svakog dečak pevač uspešno izmena """,
    },
    {
        "id": """karena bahwa yaitu yakni bisa kantor mobil uang proyek kasus pengadilan istri persen miliar triliun
            berhasil mau universitas kualitas aktivitas komunitas identitas agustus maret juli juni desember
            gubernur jakarta jawa rupiah rp bandung surabaya kabupaten provinsi kecamatan indonesia ujarnya ujar
            bapak perusahaan pemerintah informasi layanan pelayanan kebijakan tersangka mahasiswa siswa pekan nomor
            pihaknya partai kampanye pemilu meski meskipun terkait diperkirakan nggak gak enggak kalau sebesar
            jepang prancis spanyol italia stasiun televisi musik polisi kepolisian tentara jenderal rapat bisnis
            sepak cina tiongkok harus punya kamu banget butuh ketimbang sudah belum anggaran saja polri dprd dpr kpk
            bupati wali republik tokoh hukum situs rekening apalagi sejumlah peneliti penelitian berbeda tapi ponsel
            ekspor impor agar merupakan melakukan dilakukan sedangkan digunakan laki sekitar maupun ataupun
            warga namun""",
        "ms": """kerana bahawa iaitu wang pejabat polis manakala syarikat kerajaan pelbagai universiti kualiti aktiviti
            komuniti identiti ringgit rm malaysia kuala lumpur sabah sarawak johor selangor perak kedah melayu
            perlawanan kelmarin esok projek maklumat perkhidmatan hendaklah sahaja ogos mac julai jun disember kes
            mahkamah tertuduh pelajar bapa isteri lelaki peratus bilion trilion mesyuarat perniagaan berjaya mahu
            menerusi mengikut sebarang bagaimanapun bandar bandaraya televisyen filem muzik stesen jeneral askar
            jepun perancis sepanyol itali sehingga datuk seri umno awak parti setiausaha fakulti insurans
            kementerian hospital kakitangan pekerja tempatan peringkat antarabangsa pengurus pengerusi jawatankuasa
            memandangkan boleh itu british kereta basikal sekiranya agensi daripada kanak kempen selepas ramai
            ramainya dijangka pembangkang seramai kenyataan""",
    },
    {
        "nb": """ikke jeg hva hvordan hvorfor hvem hvor hvilken hvilke noe noen mye meg deg seg ble blitt være vært fra
            etter av ut opp nå bare kun selv mens uke ukene bedre mellom gjøre gjør sier kommer eller hun hjemme mer norge
            nordmenn øyeblikk språk skole kjøpe også det en et disse deres vei tror penger først får gir samtidig""",
        "nn": """ikkje eg ein eit dei frå vere vore vart kva korleis kvifor kven kvar kor noko nokon nokre meir sjølv berre
            medan mykje òg eigen eige høgre fyrst fyrste skule kjem gjer seier dykk deira heile blei noreg nordmenn veke
            vekene betre mellom heime ho augneblink ikkje kjøpe ut opp no av etter meg deg seg trur pengar fleire einaste
            vert verte korkje eller både alle desse dette enno såg gjekk fekk""",
        "da": """ikke jeg hvad hvordan hvorfor hvem hvor hvilken hvilke noget nogen nogle meget mig dig sig blev blevet være
            været fra efter af ud op nu kun selv mens uge ugerne bedre mellem gøre gør siger kommer hjemme mere danmark
            danske dansk øjeblik sprog skole købe også det en et disse deres vej tror penge først får giver samtidig hedder
            blive havde tilbage""",
    },
)
_GROUP_OF = {language: at for at, group in enumerate(GROUPS) for language in group}


@cache
def _index(group: int) -> dict[str, tuple[str, ...]]:
    """Word -> the languages that use it; a word of all languages of the group tells nothing and is left out."""
    listed: dict[str, set[str]] = {}
    for language, words in GROUPS[group].items():
        for word in words.split():
            listed.setdefault(word, set()).add(language)
    return {word: tuple(sorted(of)) for word, of in listed.items() if len(of) < len(GROUPS[group])}


def group_of(language: str) -> int | None:
    """Which group a language belongs to."""
    return _GROUP_OF.get(language)


def evidence(words: list[str], group: int) -> Counter[str]:
    """How many telling words of each language of the group are among the words of a text, lower-cased."""
    index = _index(group)
    return Counter(language for word in words for language in index.get(word, ()))

"""English verbs that begin instructions, and how "Installing X" or "Returns X" become "install X"."""

from __future__ import annotations

_BASE = """abort accept access acquire activate adapt add adjust advance aggregate align allocate allow analyze append
apply arrange ask assemble assert assign attach authenticate avoid await become begin bind bisect block boot break bring browse
build bump cache calculate call cancel capture cast change check choose clean clear clip clone close collapse collect
combine commit compare compile complete compose compress compute concatenate configure confirm connect consume contain
continue contribute control convert copy count cover crawl create customize cut debug decide declare decode decompress
decorate decrease decrypt define delegate delete deliver deploy derive describe deserialize destroy detach detect
determine develop diagnose disable discard disconnect discover dispatch display distribute divide do document download
draw drop dump duplicate edit eliminate embed emit enable encode encrypt end enforce enqueue ensure enter enumerate
escape establish estimate evaluate examine exchange exclude execute exit expand expire explain explore export expose
extend extract fetch fill filter find finish fix flatten flip flush fold follow force forget fork format forward freeze
gather generate get give grab grant group grow guess handle hash help hide highlight identify ignore implement import
improve include increase increment indent index indicate infer inherit initialize inject insert inspect install integrate
interpolate interpret intersect invalidate inverse invert invoke isolate iterate join jump keep kill launch learn leave let
limit link list listen load locate lock log look lookup make manage manipulate map mark mask match measure merge migrate
minimize mix mock model modify monitor mount move multiply name navigate normalize notify obtain omit open optimize
order organize override pack pad paint parse partition pass paste patch pause perform pick pin place play plot poll pop
populate post prefetch prepare prepend present preserve press prevent print process produce profile project prompt
protect provide prune publish pull purge push put query queue quit quote raise read rebuild receive reconnect record
recover recreate redirect reduce refactor refer reference refresh register reject release reload remove rename render
reorder repair repeat replace reply report represent request require rerun reserve reset resize resolve respond restart
restore restrict resume retrieve retry return reuse reveal reverse revert rewrite roll rotate round run sample sanitize
save scale scan schedule scroll search seek select send separate serialize serve set setup share shift shorten show
shrink shuffle shut sign simplify simulate skip sleep slice solve sort specify spawn split start stop store stream
strip style submit subscribe subtract suggest sum suppress suspend swap switch synchronize tag take tell terminate test
throw toggle trace track train transfer transform translate traverse trigger trim truncate try tune turn type undo
unescape uninstall unlock unpack unregister unset unsubscribe unwrap unzip update upgrade upload use validate verify
view visit visualize wait walk warn watch wrap write yield zip answer assist bake balance bend boil bring
burn buy call carry catch cook deal drive eat feed gain heat hold invite lift melt mend mount pay pick plant pour rest ride
screw seal sell sew sing slow spread stir study swim teach throw travel turn wash wear weigh win wipe"""
VERBS = frozenset(_BASE.split())


def imperative(word: str) -> str:
    """The base form of a verb that begins an instruction: `Return`, `Returns`, `returning` -> `return`; "" for others."""
    word = word.lower()
    if word in VERBS:
        return word
    for ending, replacements in (("ies", ("y",)), ("es", ("e", "")), ("s", ("",))):
        if word.endswith(ending):
            for replacement in replacements:
                if word[: -len(ending)] + replacement in VERBS:
                    return word[: -len(ending)] + replacement
    return gerund_base(word)


def gerund_base(word: str) -> str:
    """`installing` -> `install`, `creating` -> `create`, `running` -> `run`; "" when it is no known verb's."""
    word = word.lower()
    if not word.endswith("ing") or len(word) < 5:
        return ""
    stem = word[:-3]
    doubled = stem[:-1] if len(stem) > 2 and stem[-1] == stem[-2] else stem
    return next((base for base in (stem, stem + "e", doubled) if base in VERBS), "")

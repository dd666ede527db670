"""A thousand texts on which cleaning and tokenizing go wrong first.

"|" and line ends separate the texts below, and "␤" stands for a line end inside one. `hard_texts()` is deterministic: lists written by hand, mojibake made from phrases in many languages by the codecs that make it
in the wild, and seeded mixtures of both. Only characters of Unicode 14 and older, so that Pythons agree.
"""

import random
import unicodedata

import ftfy.bad_codecs  # noqa: F401  registers the sloppy codecs

PHRASES = """a dog in the snow|l’élève mange à la crêperie|s’il vous plaît, voilà où|Übergrößenträger für 20 €|naïve façade – “quoted” — dash…
el niño comió jalapeños ¿verdad?|São Paulo é à beira-mar|às vezes àquele lugar|un caffè, perché no?|smörgåsbord på ön
zażółć gęślą jaźń|příliš žluťoučký kůň|árvíztűrő tükörfúrógép|Șiruri și ţări|İstanbul'da ığdır|ŞİŞLİ ÇAĞRI
Привет, мир! Фото собаки|Київ, їжак і ґанок|Γειά σου Κόσμε, ΟΔΥΣΣΕΥΣ|φωτογραφία ενός σκύλου|Rīga ir skaista pilsēta|Žemaitija ąčęėįšųūž
สุนัขในหิมะ|雪の中の犬 カタカナ ﾊﾝｶｸ|雪中的狗，照片。|눈 속의 개 한국어|כלב בשלג|صورة كلب في الثلج|बर्फ में कुत्ता|தமிழ் படம்|ხინკალი|Հայերեն
😀 smile|👩‍👩‍👧‍👦 family|🏳️‍🌈 flag|👍🏽 ok|🇫🇷🇩🇪|1️⃣2️⃣|❤️‍🔥|½ cup ¼ tsp|10³ m² µm °C|© 2020 ® ™ № 5|£5 ¥6 ¢7 ¤8|«guillemets» ‹one›
“double” ‘single’ „low‚ quotes|trade™mark|x² ± y³ ≠ z ÷ w|Ĳsselmeer ĳs ŉ|ﬁne ﬂow oﬃce aﬄict ﬀ ﬅ ﬆ|æther œuvre Œdipe ß ẞ|ｆｕｌｌ ｗｉｄｔｈ　１２３！""".replace("\n", "|").split("|")

CODECS = ["latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253",
          "sloppy-windows-1254", "sloppy-windows-1257", "iso-8859-2", "macroman", "cp437"]  # fmt: skip

MOJIBAKE = """sâ€™il vous plaÃ®t|Ã©|Ã|Â|Ã |Ã la mode|voilÃ le travail|Ã  la carte|fÃ¡cil fÃ cil|Ã s Ã quele Ã quilo|â€œquotedâ€\x9d|â€œ like this â€\ufffd
â€œ like this â€?|Ã¢â‚¬â„¢ twice|ÃƒÂ©|âœ” No problems|l’humanitÃ©|schÃ¶n und gut|sÃ³|Ã³|â€”dashâ€“|Â© 2013|Â£5|20Â°C|Å\x81\u00f3d\u017a|HÔTEL|AHÅ™, the new sofa|Â¿quÃ©?
ãƒ•ã‚¡ã‚¤ãƒ«|ãã®ç¬|ðŸ˜€ faces|ðŸ˜€ðŸ˜‚|ðŸ’©ðŸ˜ ok|ï¿½|ï»¿bom|Ð¿Ñ€Ð¸Ð²ÐµÑ‚|РїСЂРёРІРµС‚|вЂ\x93 russian dash|Ã\u00a0|Ã\x83Â©|Ã±oÃ±o|Ð\x9fÑ\x80Ð¸
√©t√©|‚Äúmac quotes‚Äù|cafΘ|Œ≤|‚àÜ|РўРµСЃС‚|Î•Î»Î»Î·Î½Î¹ÎºÎ¬|×©×œ×•×\u009d|Ø§Ù„Ø¹Ø±Ø¨ÙŠØ©|à¸ªà¸§à¸±à¸ªà¸”à¸µ|ä¸­æ–‡|í•œêµ\xad|í\xa0½í¸\x8d cesu|À\x80 null|\xc0|\xc0␤|\xed␤|\xed\xa0\xbd\xed\xb8␤|abc\xc0
\xed\xa0\xbd\xed\xb8\x8d|\xed\xa0\xbd|\xed|ß€|IÃ±tÃ«rnÃ¢tiÃ´nÃ lizÃ¦tiÃ¸n|dÃ©jÃ vu|Ãƒ\x81|ÃÂ|Ã?|Ã¼?|â??s|â\x80|â\x80\x9c|\x80\x85\x93|naïve Â and Â.|Â·Â»|Ã‚Â£|MÃ&amp;#188;nchen
\x85 next|quoted \x93text\x94 of 1252|\x91it\x92s|50\x80|C\x9cur|ÐºÐ¾Ñ‚ and кот|schon Ã¶ ö|Ã¤ ä Ã¤|L&AMP;AMP;ATILDE;&AMP;AMP;SUP3;PEZ|&ATILDE;&SUP3;|P&EACUTE;REZ|BUNDESSTRA&SZLIG;E
└£␤|ΓÇö cp437|â€™␤␤â€™|Гў ГўВЂВ™a|à²•à²¨|àµà²|×²|Å“uf|œ |Œ3|Ã\xad|ÃŸ|×‚|вЂњцитатаВ»|„ĂłdĹş|Ĺ‚Ăłdka|Ă©tĂ©|Äٹ|ā€œlatvianā€¯|Ä«|β€™ greek|Ξ\xa0Ξ±|ÃŽÂ±|â™¥ I â™¥ â€¢ you""".replace("\n", "|").split("|")

ENTITIES = """&amp;|&amp;amp;|&amp;amp;amp;lt;|&lt;b&gt;|&lt;b>|<b>&amp;</b>|a < b &amp; c|&#39;|&#x27;|&#X41;|&#65|&#x41|&#0;|&#1;|&#11;|&#13;|&#59;|&#38;amp;|&#128;|&#129;|&#150;|&#x9F;|&#xD800;|&#xDFFF;|&#x110000;
&#99999999999999999999;|&#xFFFFFFFFFFFF;|&#xFFFE;|&#xFDD0;|&#127;|&#160;|&#xA0;x|&#;|&#x;|&#xg;|&;|&|&&|&& &amp|&amp&amp;|&nbsp|&nbspx|&nbsp;x|&eacute;t&eacute;|&eacute|&Eacute;|&EACUTE;|&eAcute;|&notit;|&notin;|&notanentity;
&hellip;it&#x2019;s|&copy 2020|&copyright|&COPY;|&COPYCAT|&reg;&trade;|&lt|&ltx|&LT;|&gt;&GT|&quot;q&quot;|&apos;s|&ampersand|&AMPERSAND;|&frac12;|&FRAC12;|&sup2;|&szlig;|&SZLIG;|&Jscr;ohn|&HilbertSpace;ancock|&checkmark;|&bne;|&NotEqualTilde;
&CounterClockwiseContourIntegral;|&ClockwiseContourIntegral;|&zwj;&zwnj;|&rlm;x&lrm;|&shy;|&Tab;|&NewLine;x|&lbrace;x&rbrace;|&fflig;|&ntilde;&Ntilde;&NTILDE;&nTILDE;|&#233;|&#xe9;t&#xE9|&#8364;5|&#128512;|&#x1F600;|&#55357;&#56832;|&amp;#39;|&amp;#x27;s
&amp;eacute;|&amp;amp;eacute;|&é;|&#２;|&ａｍｐ；|&am\tp;|&am p;|x&y=z&copy=1|http://a.b/?x=1&amp;y=2|&emsp;wide&ensp;|&ensp|&thinsp;a|&macr;\\_(ã\x83\x84)_/&macr;|&lt;start_of_text&gt;|&lt;|endoftext|&gt;|&aMp;|&Amp;|&yen;|&euro;|&EURO;""".replace(
    "\n", "|"
).split("|")

SHAPES = """||\0 |   |\t␤\r|a|A|.|!!!|?!?|...|---|___|#hashtag @user|a_b_c|(paren) [br] {cu}|~`^|$5.99|50%|3.14159|1,000,000|0123456789|١٢٣|१२३|Ⅻ ⅻ|①②③|x²|½|²³¹
it's|IT'S|I'll we've they're he'd I'm can't|'s|''s|'S|it'ſ|'ſ|'ſtart|d'l'll'd|o'clock's'|rock'n'roll|don’t|DON’T|ʼn|‘s|`s|a'b'c|'|''|"|""|“”|‘’
hello  world|  lead|trail  |a\tb␤c\r␤d|a\x0bb\x0cc|a\x1cb\x1dc\x1ed\x1fe|a\x85b|a\xa0b|\xa0|a\u1680b|a\u2000b\u2003c\u200ad|a\u2028b\u2029c|a\u202fb\u205fc|a\u3000b|a\u180eb|a\u200bb|a\u2060b|a\ufeffb|\ufeffbom|a\u00adb
\x00\x01\x02|a\x07b\x08c|\x7f|\x1b[31mred\x1b[0m|\x1b[1;32;40mx\x1b[m|\x1b[2Jclear|\x1b[31|\x1b]0;t\x07|\x1a|a\x1ab|\ufffd|a\ufffdb|\ufffd\ufffd|\ufff9a\ufffab\ufffb|\ufffc|\u206a\u206f|\u200e\u200fx\u202a\u202c|\u2066x\u2069|\ufe0f|\u200d|\ufdd0|\uffff
ΟΔΥΣΣΕΥΣ|ΣΑΣ ΣΑΣ. ΣΑΣ'Σ|Σ|ΑΣ|Α.Σ|ΑΣ.Β|Α\u0301Σ|ΑΣ\u0301|ΑΣ\u0301Β|ΑΣ\u00ad|Σ1Σ|aΣ b|İ|I|ı|i̇|İstanbul|ISTANBUL|ıI|DİYARBAKIR|ﬀ ﬁ|ẞ ß|ǅ ǆ Ǆ|ᾼ ᾳ|K Å Ω|ſ|ŉ|ΐ|ǰ|Ⅷ|Ⓐ ⓐ|𝐀𝐛𝒞|Ａｂ１|𐐀𐐨|Ა ა|ꭰ Ꭰ|ϴ θ|ϒ ϓ|℡ ™ ㏒
e\u0301|é|a\u030a\u0301|\u0301|x\u0301\u0302\u0303|A\u030a Å Å|\u0344|\u0340\u0341|a\u0345|1\u0345|!\u0345|\u0345|q\u0323\u0307 q\u0307\u0323|ệ|ệ|\u1100\u1161\u11a8|각|ᄀᄀ|\u1100\u1161|가\u11a8|ㄱㅏ|ﾡￂ|ﾊﾞｶﾞﾊﾟ|が|か\u3099|ヸ|क़|ড়|ਲ਼|שׁ|לֹ|أ|ا\u0654|ﷺ|ﻼ|ﬡ|Ω|Å|豈 豈|樂|㍿|ﷲ
👨‍👩‍👧‍👦|👩🏽‍🚀|🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f|🇺🇸🇬🇧|🧑‍🤝‍🧑|👁️‍🗨️|❤|❤️|❤︎|☺️|#️⃣|*️⃣|😀😃😄|a😀b|😀 😀|🫠|𝟘𝟙𝟚|🀄🃏|𠀀𠜎|🅰️|㊙️|‼️⁉|™️|〰️|⌚|♻|✔ ✓|★☆|►◄|░▒▓█|┌─┐│└┘|(╯°□°)╯︵ ┻━┻|¯\\_(ツ)_/¯|ಠ_ಠ|( ͡° ͜ʖ ͡°)|ʕ•ᴥ•ʔ|Zͬ̊ͧa͐l̸͠g̷o
<start_of_text>|<end_of_text>|a <start_of_text> b|a<start_of_text>b|<start_of_text><end_of_text>|x<end_of_text><end_of_text>y|!<start_of_text>|a!<end_of_text> b|!<start_of_text><end_of_text>|>><end_of_text>|<<start_of_text>>|1<end_of_text>|<START_OF_TEXT>|<End_Of_Text>|<ſtart_of_text>
<start_of_text|start_of_text>|<start of text>|<start_of_text >|a's<end_of_text>|é<end_of_text>|<end_of_text>'s|. <end_of_text> .|<|startoftext|>|<|endoftext|>|a<|endoftext|>b|<|ENDOFTEXT|>|&lt;end_of_text&gt;|&amp;lt;start_of_text&amp;gt;|!&lt;end_of_text>|<end_of_text>.<end_of_text>|<end_of_text>.<end_of_text><start_of_text>
[CLS]|[SEP]|[MASK]|[PAD]|[UNK]|a [SEP] b|a[SEP]b|[cls]|[ SEP ]|##ing|<pad>|<unk>|</s>|<s>|<eos>|<bos>|<mask>|<extra_id_0>|a</s>b|hello </s> world|<start_of_turn>|<0x41>|▁|▁a ▁ b|a▁b|<unk> <pad>|<eos><eos>|\u2581\u2581
New York, N.Y. 10001|C++ C# F# .NET|foo@bar.com|https://example.com/a?b=c&d=e#f|/usr/local/bin|C:\\Users\\x|1:30 p.m.|2020-01-02T03:04:05Z|v1.2.3-rc.4|192.168.0.1|(555) 123-4567|e=mc^2|a/b\\c|x->y=>z|<html><body>hi</body></html>|{"a": [1, 2]}|SELECT * FROM t;|print("hi")|#1 @2 $3 %4 ^5 &6 *7|☎ 12""".split("\n")


def shapes():
    """SHAPES by line; special tokens carry bars themselves, so those are put back together."""
    for line in SHAPES:
        for token in ["<|startoftext|>", "<|endoftext|>", "<|ENDOFTEXT|>"]:
            line = line.replace(token, token.replace("|", "\ue000"))
        yield from (piece.replace("\ue000", "|") for piece in line.split("|"))


def broken(phrase, codec, generator):
    """`phrase` as it looks after being read in the wrong encoding, in the ways that ftfy knows."""
    raw = phrase.encode("utf-8")
    try:
        once = raw.decode(codec)
    except UnicodeDecodeError:
        return
    yield once
    match generator.randrange(6):
        case 0:
            yield once.replace("\xa0", " ")
        case 1:
            yield "".join("\ufffd" if 0x7F < ord(c) < 0xA0 else c for c in once)
        case 2:
            yield "".join("?" if 0x7F < ord(c) < 0xA0 else c for c in once)
        case 3:
            yield phrase + " " + once
        case 4:
            yield once.encode("utf-8").decode("sloppy-windows-1252")
        case 5:
            yield once[: max(1, len(once) - 2)]


def mixture(generator, atoms, blocks):
    """Atoms, characters of every script and joints, at random."""
    out = []
    for _ in range(generator.randint(1, 8)):
        kind = generator.random()
        if kind < 0.45:
            out.append(generator.choice(atoms))
        elif kind < 0.75:
            block = generator.choice(blocks)
            out.append("".join(generator.choice(block) for _ in range(generator.randint(1, 4))))
        else:
            out.append(generator.choice([" ", "  ", "\n", "", "'s", ".", "&", "-", "<end_of_text>", "_", "\u200d", "\u0301", "\xa0"]))
    return "".join(out)[:120]


def unicode_blocks():
    """Runs of 128 code points, without what Unicode 14 left unassigned, surrogates and private use."""
    runs = [[chr(c) for c in range(start, start + 128)] for start in [*range(0, 0x3400, 128), *range(0xA000, 0xAC00, 128), 0xAC00,
            0xF900, *range(0xFB00, 0x10000, 128), 0x10400, 0x1D400, 0x1D7C0, 0x1F100, *range(0x1F300, 0x1FA00, 128), 0x20000, 0xE0000]]  # fmt: skip
    known = [[c for c in run if unicodedata.category(c) not in ("Cn", "Cs", "Co")] for run in runs]
    return [run for run in known if run]


def hard_texts(mixtures=330, seed=7):
    """Distinct texts, always the same ones."""
    generator = random.Random(seed)
    texts = [*PHRASES, *MOJIBAKE, *ENTITIES, *shapes()]
    for phrase in PHRASES:
        for codec in CODECS:
            made = list(broken(phrase, codec, generator))
            texts += made if generator.random() < 0.45 else []
    words = "the quick brown fox jumps over a lazy dog while seven wizards photograph the northern lights".split()
    texts += [" ".join(words[(i * 7) % len(words)] for i in range(n)) for n in (20, 29, 30, 31, 34, 50, 73, 75, 76, 78, 500)]
    texts += ["é" * 60, "a" * 300, "ab" * 150, "😀" * 40, "雪" * 90, "." * 200, "! " * 90, "1" * 90, "supercalifragilistic" * 10,
              "x" * 99, "x" * 100, "x" * 101, "Ã©" * 30, "&amp;" * 20, "a\n" * 30, "<\n&amp;", "&amp;\n<\n&amp;", "Ã©\n<\n&eacute;"]  # fmt: skip
    atoms = [*PHRASES, *MOJIBAKE, *ENTITIES]
    atoms = [atom[:24] for atom in atoms]
    blocks = unicode_blocks()
    texts += [mixture(generator, atoms, blocks) for _ in range(mixtures)]
    # A lone surrogate is no text: it has no UTF-8, and Rust's strings cannot hold it.
    texts = (text.replace("␤", "\n").encode("utf-8", "replace").decode("utf-8") for text in texts)
    return list(dict.fromkeys(texts))


if __name__ == "__main__":
    texts = hard_texts()
    print(len(texts), sum(len(text.encode()) for text in texts))

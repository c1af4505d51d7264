"""Is a sentence English? By its script, and by words that only other languages have."""

from __future__ import annotations

import unicodedata


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Commands, function words and the commonest nouns that are no English words.
TELLING: dict[str, frozenset[str]] = {
    "German": _words(
        """entferne entfernen entfernt entfernst lösche löschen lösch ersetze ersetzen weg bitte füge hinzu der die das
        dem den ein eine einen einem eines vom zum zur aus mit ohne hinter neben auf vor über unter und oder nicht kein
        keine hund hunde katze katzen mann frau leute pferd vogel baum auto fahrrad schrift bild wasserzeichen
        mach mache nimm behalte nur"""
    ),
    "French": _words(
        """enlève enlever enlevez enleve supprime supprimer supprimez effacer effacez retirer retirez
        remplace remplacer remplacez ajoute ajouter ajoutez garde gardez le la les un une du des au aux ce
        cette ces et ou avec sans derrière devant dans à côté sur sous pas chien chiens chats homme femme enfant cheval
        oiseau arbre voiture vélo texte personne personnes gens s'il vous plaît"""
    ),
    "Spanish": _words(
        """quita quitar quítale elimina eliminar elimine borra borrar borre remueve saca reemplaza reemplazar
        sustituye cambia añade agrega deja el los las una unos unas del al y con detrás junto sobre perro
        perros gato gatos hombre mujer niño caballo pájaro árbol coche carro bicicleta texto gente personas"""
    ),
    "Portuguese": _words(
        """remova remover apague apagar tira retira exclua substitua troque adicione deixe os uma uns umas
        dos das ao aos e sem atrás ao lado sobre cachorro cão gato gatos homem mulher criança cavalo pássaro árvore
        carro bicicleta texto pessoas pessoa"""
    ),
    "Italian": _words(
        """rimuovi rimuovere togli togliere elimina eliminare cancella cancellare sostituisci aggiungi lascia il lo gli
        una della dello delle dei degli dal dalla nel nella con senza dietro accanto sopra sotto cani gatto
        gatti uomo donna cavallo uccello albero macchina bicicletta testo persone"""
    ),
    "Dutch": _words(
        """verwijder verwijderen wis haal vervang vervangen voeg het een deze dit dat met zonder achter naast voor
        onder boven niet geen alleen hond honden kat katten vrouw jongen meisje paard vogel fiets tekst mensen"""
    ),
    "Swedish, Danish or Norwegian": _words(
        """fjern fjerne slet erstat erstatt ta bort ersätt lägg til och og med uten uden utan bak ikke inte hunden
        hund katten katt kat mannen manden kvinnen kvinnan träd biler bilen cykel sykkel"""
    ),
    "Polish": _words(
        """usuń usunąć skasuj wymaż zamień zastąp dodaj psa kota kot mężczyznę kobietę drzewo samochód tekst
        ze z na obok bez oraz nie"""
    ),
    "Turkish": _words("kaldır sil çıkar değiştir ekle köpeği köpek kediyi kedi adamı kadını ağacı arabayı ve ile"),
    "Indonesian or Malay": _words("hapus hapuskan hilangkan ganti tambahkan anjing kucing dari yang di dan"),
}  # fmt: skip
# Words of these that English has too: they tell only before another word and not after an article ("la", "die").
SHARED = _words(
    """die den le la il lo los las des les du un en de al el y e os das dos sur ou au con ta til dan di na z ze dat
    kat tira saca dit met het ve sans auto bak texto"""
)
SCRIPTS = {"CJK": "Chinese or Japanese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}
LATIN = ("LATIN", "FULLWIDTH", "MODIFIER", "FEMININE", "MASCULINE")  # how names of Latin letters begin
ARTICLES = _words("the a an this that these those my our your his her its their all both every two three")


def foreign(text: str) -> str | None:
    """The language or script that a sentence seems to be written in; None where it may be English."""
    for letter in text:
        if letter.isalpha():
            script = unicodedata.name(letter, "").split(" ")[0]
            if script not in LATIN:
                return SCRIPTS.get(script, script.capitalize()) + " script"
    words = "".join(c if c.isalpha() or c == "'" else " " for c in text.lower()).split()
    hits = {
        language: sum(
            word in telling and (word not in SHARED or bool(after and before not in ARTICLES))
            for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False)
        )
        for language, telling in TELLING.items()
    }
    likeliest = max(hits, key=lambda language: hits[language])
    return likeliest if hits[likeliest] else None

"""Whether a keyword stands in what a customer wrote."""

import pytest

from alerter.watch.keywords import keywords_in

FOUND = {
    "a word": ("refund", "I want a refund now"),
    "at the beginning": ("refund", "Refund! Now!"),
    "at the end": ("refund", "Give me my refund"),
    "alone": ("refund", "refund"),
    "in capitals": ("refund", "I WANT A REFUND"),
    "a keyword in capitals": ("Refund", "a refund"),
    "beside punctuation": ("refund", "no…refund/exchange"),
    "the second time only": ("fund", "refund the fund"),
    "two words": ("food poisoning", "We got food poisoning there"),
    "two words over a line break": ("food poisoning", "We got food\n  poisoning"),
    "sharp s": ("straße", "IN DER STRASSE"),
    "final sigma": ("ΛΑΘΟΣ", "ένα λαθος"),
    "Cyrillic": ("возврат", "ВОЗВРАТ денег"),
    "composed and not": ("café", "the cafe\u0301 is closed"),
    "full width": ("refund", "ＲＥＦＵＮＤ"),
    "a ligature": ("stuff", "stu\ufb00"),
    "another apostrophe": ("don't", "Don\u2019t go there"),
    "Arabic": ("استرداد", "أريد استرداد المال"),
    "Hebrew": ("החזר", "אני רוצה החזר!"),
    "Hindi": ("रिफंड", "मुझे रिफंड चाहिए"),
    "Chinese, which has no spaces": ("退款", "我要退款谢谢"),
    "Japanese": ("返金", "すぐに返金してください"),
    "Thai": ("คืนเงิน", "ขอคืนเงินด้วย"),
    "Korean with a particle": ("환불", "환불을 원해요"),
    "an emoji": ("🤮", "so bad🤮🤮"),
    "an emoji with its selector": ("❤", "I ❤\ufe0f it"),
    "signs": ("24/7", "open 24/7?"),
    "signs at the edge": ("c++", "I like c++ more"),
}
NOT_FOUND = {
    "a part of a word": ("fund", "refund"),
    "the beginning of a word": ("refund", "refunded"),
    "a word with a digit": ("refund", "refund2"),
    "a word with an underscore": ("refund", "refund_policy"),
    "umlauts are letters": ("bel", "übel"),
    "an accent that belongs to the last letter": ("cafe", "cafe\u0301"),
    "a vowel sign that belongs to the last letter": ("रिफंड", "रिफंडी"),
    "words in another order": ("food poisoning", "poisoning food"),
    "words with others between": ("food poisoning", "food and poisoning"),
    "digits": ("24", "1240"),
    "nothing": ("refund", ""),
}


@pytest.mark.parametrize(("keyword", "text"), FOUND.values(), ids=FOUND)
def test_a_keyword_is_found(keyword: str, text: str) -> None:
    assert list(keywords_in([keyword], text)) == [keyword]


@pytest.mark.parametrize(("keyword", "text"), NOT_FOUND.values(), ids=NOT_FOUND)
def test_a_keyword_is_not_found(keyword: str, text: str) -> None:
    assert not list(keywords_in([keyword], text))


def test_each_text_is_looked_at_by_itself() -> None:
    assert list(keywords_in(["refund"], "A title", "and a refund")) == ["refund"]
    assert not list(keywords_in(["food poisoning"], "Bad food", "poisoning"))


def test_all_keywords_of_a_text_are_found_in_their_order() -> None:
    found = keywords_in(["late", "mould", "Refund"], "Too late", "I want a refund")
    assert list(found) == ["late", "Refund"]
    assert not list(keywords_in([], "Too late"))

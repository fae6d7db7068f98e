import pytest

from maskline.core.text import cell, chart_cell, from_cell, one_line, printable, without_secrets


@pytest.mark.parametrize("text", ["=1+1", "+A1", "-A1", "@SUM(A1)", "'=1", "'quoted", "=cmd|' /C'!A0", "plain", ""])
def test_a_cell_is_no_formula_and_can_be_read_back(text):
    assert not cell(text).startswith(("=", "+", "-", "@"))
    assert from_cell(cell(text)) == text


@pytest.mark.parametrize("number", ["-1", "+2.5", "-1e-3"])
def test_numbers_stay_numbers(number):
    assert cell(number) == number


def test_a_chart_cell_ends_no_script():
    assert "<" not in chart_cell("</script><script>alert(1)</script>")


def test_control_characters_are_shown():
    assert printable("a\x1b[2Jb\n\u202ec\x9bd") == "a\\x1b[2Jb\n\\u202ec\\x9bd"
    assert one_line("a\x1b\n b\udcff") == "a\\x1b b\\udcff"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://host/a.zip", "https://host/a.zip"),
        ("https://me:secret@host:1/a.zip", "https://***@host:1/a.zip"),
        ("https://host/a.zip?token=secret", "https://host/a.zip?***"),
        ("https://me:secret@[host/a", "an address that cannot be read"),
        ("http://me:se/cret@host/a.zip", "http://***@host/a.zip"),
        ("http://me:se#cret@host/a.zip", "http://***@host/a.zip"),
        ("http://me:se?cr@et@host/a.zip?b@c", "http://***@c"),
        ("me:secret@host/a.zip", "***@host/a.zip"),
        ("https://host/a.zip#token=secret", "https://host/a.zip#***"),
        ("https://host/a;jsessionid=secret/b.zip;c", "https://host/a;***/b.zip;***"),
        ("https://host.org/set@1.0/a.zip", "https://host.org/set@1.0/a.zip"),
        ("data.zip", "data.zip"),
    ],
)
def test_an_address_without_what_opens_it(address, shown):
    assert without_secrets(address) == shown

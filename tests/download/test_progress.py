from maskline.download.progress import byte_bar, tracked


def test_nothing_is_printed_to_a_file(capfd):
    assert list(tracked([1, 2, 3], 3, description="convert")) == [1, 2, 3]
    with byte_bar("a.zip", done=0, total=10) as advance:
        advance(10)
    with byte_bar("a.zip", done=5, total=None) as advance:
        advance(10)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_a_terminal_sees_a_bar(capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert list(tracked([1, 2, 3], 3, description="convert")) == [1, 2, 3]
    with byte_bar("a.zip", done=0, total=10) as advance:
        advance(10)
    err = capfd.readouterr().err
    assert "convert" in err
    assert "a.zip" in err

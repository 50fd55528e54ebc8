"""URLs of package indexes: the credentials apart from the rest, in a file that every Python reads."""

from __future__ import annotations

import netrc
import re
from urllib.parse import quote

import pytest
from ansible_collections.pyweb.deploy.plugins.plugin_utils import index
from hypothesis import given
from hypothesis import strategies as st

HIDDEN = "s3cret"


@pytest.mark.parametrize(
    ("text", "url", "login"),
    [
        ("https://packages.example/simple", "https://packages.example/simple", None),
        ("https://packages.example/simple/", "https://packages.example/simple/", None),
        ("https://Packages.Example:8443/Simple", "https://packages.example:8443/Simple", None),
        ("http://packages.example/simple", "http://packages.example/simple", None),
        ("https://[2001:db8::5]:8443/simple", "https://[2001:db8::5]:8443/simple", None),
        ("https://joe:s3cret@packages.example/simple", "https://packages.example/simple", ("joe", HIDDEN)),
        ("https://joe:s3cret@Packages.example:8443/a/b", "https://packages.example:8443/a/b", ("joe", HIDDEN)),
        ("https://:s3cret@packages.example/simple", "https://packages.example/simple", ("", HIDDEN)),
        ("https://j%40e:%2F%23%3F%25@packages.example/", "https://packages.example/", ("j@e", "/#?%")),
        ("https://joe:a@b@packages.example/", "https://packages.example/", ("joe", "a@b")),
        ("http://joe:s3cret@127.0.0.1:8080/simple", "http://127.0.0.1:8080/simple", ("joe", HIDDEN)),
        ("http://joe:s3cret@localhost/simple", "http://localhost/simple", ("joe", HIDDEN)),
    ],
)
def test_parse(text: str, url: str, login: tuple[str, str] | None) -> None:
    found = index.parse(text)
    assert (found.url, found.login) == (url, login)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "doesn't begin with https"),
        ("packages.example/simple", "doesn't begin with https"),
        ("file:///srv/simple", "doesn't begin with https"),
        ("https://joe:s3cret@packages.example/sim ple", "a character that no URL has"),
        ("https://joe:s3cret@packages.example/simple\n", "a character that no URL has"),
        ("https://joe:s3cret\u00fc@packages.example/simple", "a character that no URL has"),
        ("https:///simple", "no host"),
        ("https://joe:s3cret@/simple", "no host"),
        ("https://joe:s3cret/x@packages.example/simple", "%2F"),
        ("https://joe:1/s3cret@packages.example/simple", "%2F"),
        ("https://joe:s3cret#x@packages.example/simple", "%23"),
        ("https://joe:1#s3cret@packages.example/simple", "%23"),
        ("https://joe:1?s3cret@packages.example/simple", "%3F"),
        ("https://joe:s3cret@packages.example:simple/", "no host"),
        ("https://joe:s3cret@packages.example/simple?a=b", "a query or a fragment"),
        ("https://joe:s3cret@packages.example/simple#a", "a query or a fragment"),
        ("https://joe:s3cret@[2001:db8::5]/simple", "IPv6"),
        ("http://joe:s3cret@packages.example/simple", "use https"),
        ("http://joe:s3cret@127.0.0.1.packages.example/simple", "use https"),
        ("https://s3cret@packages.example/simple", "no password"),
        ("https://s3cret:@packages.example/simple", "no password"),
        ("https://joe:s3cret%20@packages.example/simple", "its password holds a blank"),
        ("https://joe:s3cret%0A@packages.example/simple", "its password holds"),
        ("https://joe:s3cret%00@packages.example/simple", "its password holds"),
        ("https://joe:s3cret%5C@packages.example/simple", "a backslash"),
        ("https://joe:%22s3cret@packages.example/simple", "a leading quotation mark"),
        ("https://joe:s3cret%C3%BC@packages.example/simple", "beyond ASCII"),
        ("https://j%20e:s3cret@packages.example/simple", "its user holds"),
    ],
)
def test_refused_without_quoting_it(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as raised:
        index.parse(text)
    assert HIDDEN not in str(raised.value)


PRINTABLE = "".join(map(chr, range(ord("!"), ord("~") + 1)))
WORDS = st.text(PRINTABLE.replace("\\", ""), min_size=1).filter(lambda word: not word.startswith('"'))


@given(user=st.just("") | WORDS, password=WORDS)
def test_pip_reads_back_what_the_url_said(tmp_path_factory: pytest.TempPathFactory, user: str, password: str) -> None:
    url = f"https://{quote(user, safe='')}:{quote(password, safe='')}@packages.example:8443/simple"
    path = tmp_path_factory.mktemp("netrc") / "netrc"
    path.write_text(index.netrc([index.parse("https://a:b@another.example"), index.parse(url)]))
    login, account, found = netrc.netrc(str(path)).authenticators("packages.example") or ("", "", "")
    assert (login or account or "", found) == (user, password), "as requests takes them"


def test_an_index_without_credentials_is_not_in_the_file() -> None:
    assert index.netrc([index.parse("https://packages.example/simple")]) == ""
    assert index.netrc([]) == ""


def test_one_line_for_each_host() -> None:
    urls = ["https://joe:s3cret@a.example/1", "https://joe:s3cret@A.example:8443/2", "https://a.example/3"]
    assert index.netrc(map(index.parse, urls)) == "machine a.example login joe password s3cret\n"


def test_two_logins_on_one_host() -> None:
    urls = ["https://joe:s3cret@a.example/1", "https://jane:s3cret@a.example/2"]
    with pytest.raises(ValueError, match=r"two indexes on a\.example have different credentials") as raised:
        index.netrc(map(index.parse, urls))
    assert HIDDEN not in str(raised.value)

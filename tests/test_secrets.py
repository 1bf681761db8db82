"""Credentials in URLs and commands: refused where they are given, replaced in what is kept and printed."""

import pytest

from search.process.arguments import parse
from search.process.secrets import find_secret, is_secret, redact_command, redact_text, redact_url
from search.session.checks import check
from search.session.options import Options
from tests.ledgers import SECRET

DATABASES = (
    "postgresql+psycopg://u@127.0.0.1:5432/db?password={}",
    "postgresql://u:{}@host/db",
    "postgresql://u:{}/x?y#z@host/db",
    "postgresql://u:a@{}@host/db",
    "mysql+pymysql://u@host/db?charset=utf8&passwd={}",
    "postgresql://host/db?user=me&sslpassword={}",
    "postgresql://host/db?p%61ssword={}",
    "postgresql://host/db?p%2561ssword={}",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3BUID%3Dsa%3BPWD%3D{}",
    "sqlite+pysqlcipher://:{}@/x.db",
    "postgresql://host/db?sslmode=require;pwd={}",
    "postgresql:///db?host=u:{}@host",
    "postgresql://host/db?sslpassword%3D{}",
    "postgresql://host/db?password:{}",
    "mssql+pyodbc://host/db;password={}",
    "postgresql+psycopg://u:{}@[::1]:5432/db",
    "postgresql://host1:5432,u:{}@host2:5432/db",
    "postgresql://host/db?p\u0430ssword={}",
    "postgresql://host/db?\u0440assword={}",
    "postgresql://host/db?pass\u200bword={}",
    "postgresql://host/db?%D1%80assword%3D{}",
    "postgresql://host/db?p\u0430ssword:{}",
    "postgresql://host/db;\uff50assword={}",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3B%D0%A0WD%3D{}",
    "mysql+pymysql://u@h/db?init_command=SET%20PASSWORD%3D%27{}%27",
)
STORES = (
    "s3://bucket/x?pwd={}",
    "s3://bucket/x?credential={}",
    "s3://bucket/x?endpoint_override=http%3A%2F%2Fuser%3A{}%40host",
    "s3://bucket/x?endpoint_override=http://{}@host",
    "s3://bucket/x?region=eu&AccessKeyId={}",
    "abfs://box/x?sas_token={}",
    "gs://bucket/x?X-Goog-Signature={}",
    "s3://key:{}@bucket/x",
    "s3://bucket/x;secret={}",
    "s3://bucket/x?s\u0435cret={}",
    "s3://bucket/x?proxy_options=http%3A%2F%2Fu%3A{}%40proxy",
)


@pytest.mark.parametrize(
    "name",
    "password passwd pwd PASS sslpassword ssl_password token access_token secret SecretKey key credential credentials"
    " sas sas_token sig signature X-Amz-Signature access_key AccessKeyId aws_secret_access_key AWSSecretKey apikey"
    " p%61ssword client_secret account_key SharedAccessSignature dbpassword user_pass passphrase password1".split(),
)
def test_a_name_that_means_a_credential_is_known_as_one(name: str):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    "monkey keyspace keepalives passfile sslkey ssl_key sslcert sslmode compass bypass tokenizer max_tokens turkey"
    " partition_key key_file token_path password_encoding credential_kind auth_plugin require_auth options charset"
    " application_name target_session_attrs region endpoint_override scheme design assassin passenger service".split(),
)
def test_a_name_that_only_looks_like_one_is_harmless(name: str):
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("option", "url"), [*(("--study-url", u) for u in DATABASES), *(("--storage", u) for u in STORES)]
)
def test_a_url_with_a_credential_is_refused_with_the_way_out_and_never_repeated(option: str, url: str):
    url = url.format(SECRET)
    with pytest.raises(ValueError, match=rf"{option} must not contain .*; (use PGPASSWORD|give the nodes)") as refused:
        check(parse(Options, [option, url], prog="search.run"))
    assert SECRET not in str(refused.value)
    assert SECRET not in redact_url(url)
    assert "***" in redact_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me@127.0.0.1:5432/studies?sslmode=require&sslkey=/home/me/key.pem&passfile=/home/me/.pgpass",
        "postgresql+psycopg://?service=studies",
        "postgresql://host:5432/db?application_name=me@here",
        "sqlite:////a/b%2Fc.db",
        "mysql://me@host/db?charset=utf8mb4&ssl_key=/x",
        "postgresql://me@host/db?host=one:5432,two:5433",
        "postgresql://host/db?options=-c%20statement_timeout%3D5s",
    ],
)
def test_a_url_without_one_is_taken_and_shown_as_it_is(url: str):
    check(parse(Options, ["--study-url", url], prog="search.run"))
    assert find_secret(url) is None
    assert redact_url(url) == url


@pytest.mark.parametrize("url", DATABASES + STORES)
@pytest.mark.parametrize(
    "form",
    [
        "python -m search.run --study-url {} --trials 3",
        "python -m search.run --trials 3 --study-url={}",
        "python -m search.run --storage '{}' --name x",
        'python -m search.run --storage "{}"',
        "python -m search.run --study_url {}",
    ],
)
def test_a_command_is_kept_without_its_credentials(url: str, form: str):
    said = form.format(url.format(SECRET))
    redacted = redact_command(said)
    assert SECRET not in redacted
    assert [word for word in said.split() if "://" not in word] == [
        word for word in redacted.split() if "://" not in word
    ]


def test_a_password_with_blanks_and_quotes_goes_as_a_whole():
    url = "postgresql://u@h/db?password=it's a"
    assert redact_command(f"x --study-url {url} b --trials 3") == (
        "x --study-url postgresql://u@h/db?password=*** --trials 3"
    )


def test_a_page_or_a_message_keeps_all_but_the_credentials():
    page = '<p>Search: x --study-url postgresql://u@h/db?password=pw&amp;sslmode=require</p>"s3://k:pw@b/x"'
    assert redact_text(page) == page.replace("password=pw", "password=***").replace("k:pw@", "k:***@")
    assert redact_text("3 trials, 12:30 @ home") == "3 trials, 12:30 @ home"


def test_a_page_of_megabytes_is_redacted_at_once():
    """A picture stands in a page as one long word; that no time grows with its square is seen by the suite's limit."""
    word = "iVBORw0KGgo" * 100_000
    assert redact_text(f"{word} {word}postgresql://me:pw@host/db {word}").count("***") == 1

"""Many files: manifests, and the table of what became of each."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from model.inference import __main__ as inference
from model.inference.jobs import Job, read_manifest
from model.inference.offline import OfflineError
from model.inference.result_table import COLUMNS, NAME, ResultTable
from model.inference.separation import Result
from model.inference.stem_files import StemFileError
from tests.offline_fixture import Graph, music, write

ROOT = Path(__file__).parent.parent


def rows(out: Path) -> dict[str, dict[str, str]]:
    """The table by the names of the files."""
    with (out / NAME).open(encoding="utf-8", newline="") as file:
        return {Path(row["file"]).name: row for row in csv.DictReader(file, dialect="excel-tab")}


def test_a_manifest_names_files_and_where_their_stems_go(tmp_path: Path) -> None:
    manifest = tmp_path / "list.txt"
    manifest.write_text("# an archive\nsongs/a b.wav\n\n/elsewhere/c.mp3\n"
                        "songs/d.wav\talbum/first\n", encoding="utf-8")
    out = Path("out")
    assert read_manifest(manifest, out) == [
        Job(tmp_path / "songs" / "a b.wav", out / "songs" / "a b"),
        Job(Path("/elsewhere/c.mp3"), out / "elsewhere" / "c"),
        Job(tmp_path / "songs" / "d.wav", out / "album" / "first")]


@pytest.mark.parametrize(("text", "message"), [
    ("", "no file is named in it"), ("# only this\n", "no file is named in it"),
    ("a.wav\tx\ty", "line 1"), ("a.wav\n\tb", "line 2"), ("a.wav\t../b", "line 1"),
    ("a.wav\t/b", "line 1"), ("a.wav\tC:\\b", "line 1"), ("a.wav\tb/..", "line 1")])
def test_a_bad_manifest_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    with pytest.raises(OfflineError, match=message):
        read_manifest(tmp_path / "list.txt", tmp_path)


def test_a_sound_file_is_no_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    song = write(tmp_path / "song.wav", music(100))
    for path, message in ((song, "is not a manifest"), (tmp_path / "none", "cannot be read")):
        assert inference.main(["--manifest", str(path), "-o", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_table_says_what_became_of_every_file(
        step_graph: Graph, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "good.wav", music(44_100))
    write(tmp_path / "late.wav", music(4410))
    (tmp_path / "text.wav").write_text("only words", encoding="utf-8")
    manifest, out = tmp_path / "list.tsv", tmp_path / "out"
    manifest.write_text("good.wav\ngood.wav\ntext.wav\ngone.wav\nlate.wav\tgood\n",
                        encoding="utf-8")
    command = ["--manifest", str(manifest), "-o", str(out), "-c", str(step_graph[0])]
    assert inference.main(command) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 separated, 0 skipped, 3 failed"
    table = rows(out)
    assert list(table) == ["gone.wav", "good.wav", "late.wav", "text.wav"]
    good = table["good.wav"]
    assert (good["status"], good["sound_s"], good["attempts"], good["error"]) == (
        "done", "1.00", "1", "")
    assert float(good["compute_s"]) > 0
    for name, error in (("gone.wav", "no such file"), ("text.wav", "not a sound file"),
                        ("late.wav", "names of those of good.wav; rename one")):
        assert table[name]["status"] == "failed"
        assert error in table[name]["error"]
    manifest.write_text("good.wav\nlate.wav\n", encoding="utf-8")
    assert inference.main(command) == 0
    assert "1 separated, 1 skipped, 0 failed" in capsys.readouterr().out
    assert rows(out)["good.wav"] == good  # the first run's row tells more than "skipped"
    assert rows(out)["late.wav"]["status"] == "done"
    assert rows(out).keys() == table.keys()


def test_a_killed_run_leaves_the_rows_it_had(tmp_path: Path) -> None:
    table = ResultTable(tmp_path)
    for name in ("b\twith tab", "a", "c"):
        table.add(Result(tmp_path / name, "done", "", 1.0, 2.0))
    assert list(rows(tmp_path)) == ["b\twith tab", "a", "c"]  # in the order of their ends
    with table.path.open("a", encoding="utf-8") as file:
        file.write(f"{tmp_path / 'd'}\tdon")
    again = ResultTable(tmp_path)
    again.add(Result(tmp_path / "a", "failed", "it is gone", attempts=2))
    again.close()
    assert list(rows(tmp_path)) == ["a", "b\twith tab", "c"]
    assert tuple(rows(tmp_path)["a"].values())[1:] == ("failed", "", "", "2", "it is gone")
    assert not list(tmp_path.glob("*.part"))


def test_a_table_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("mine\n", encoding="utf-8")
    with pytest.raises(OfflineError, match="not a table of results"):
        ResultTable(tmp_path)
    (tmp_path / "file").write_text("\t".join(COLUMNS), encoding="utf-8")
    with pytest.raises(StemFileError, match="cannot be written"):
        ResultTable(tmp_path / "file" / "folder").add(Result(tmp_path, "done", ""))


def test_without_ray_the_cluster_is_one_line_and_the_rest_works(step_graph: Graph,
                                                                tmp_path: Path) -> None:
    song = write(tmp_path / "song.wav", music(4410))
    code = ("import sys; sys.modules['ray'] = None; from model.inference.__main__ import main; "
            "sys.exit(main(sys.argv[1:]))")
    command = [sys.executable, "-c", code, "-i", song, "-o", tmp_path / "out", "-c", step_graph[0]]
    result = subprocess.run([*command, "--cluster", "local"], cwd=ROOT, capture_output=True,
                            text=True, timeout=120, check=False)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "error: --cluster needs ray: pip install 'bandsplit-live[cluster]'"]
    assert not (tmp_path / "out").exists()
    assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120,
                          check=False).returncode == 0

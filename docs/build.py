"""Build the documentation: pictures of the examples, the table of papers, the pages of the models, then the site.

Run: python docs/build.py [--full | --no-pictures]. Pages are put together in build/docs, the site is in build/site.
Examples whose picture lies in build/docs/gallery are not run again. Without --full they run in their quick form (some
minutes in all).
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from spikeframe import papers
from spikeframe.papers import models

ROOT = Path(__file__).parents[1]
PAGES, EXAMPLES = ROOT / "build" / "docs", ROOT / "examples"
PICTURES = PAGES / "gallery"
#: A link to what is in the source tree but not on the site.
SOURCE = re.compile(r"\[[^\]]+\]\((?:\.\./)+((?:spikeframe|tests|examples)/[^)]+)\)")
#: A picture of a benchmark, which the site has beside the page.
RESULT = re.compile(r"\]\(\.\./benchmarks/results/([^)]+)\)")
#: How words of the examples' names are written.
NAMES = {
    "ann": "ANN", "elm": "ELM", "eprop": "e-prop", "eventprop": "EventProp", "ftwt": "FTWT", "hlop": "HLOP",
    "hmm": "HMM", "nir": "NIR", "nm": "N:M", "pynn": "PyNN", "rnn": "RNN", "shd": "SHD", "snn": "SNN",
    "sparcl": "SparCL", "stdp": "STDP", "ultralif": "UltraLIF",
}  # fmt: skip


def pictures(full: bool) -> list[str]:
    """Run the examples that draw and have no picture yet; return those that gave none."""
    from tqdm import tqdm

    failed = []
    drawing = [path for path in sorted(EXAMPLES.glob("*.py")) if '"--out"' in path.read_text(encoding="utf-8")]
    for path in tqdm([path for path in drawing if not picture(path).exists()], desc="examples"):
        options = ["--out", str(picture(path)), *([] if full else ["--quick"])]
        done = subprocess.run([sys.executable, str(path), *options], capture_output=True, text=True, check=False)
        if done.returncode:
            failed.append(path.name)
            print(f"{path.name} gave no picture:\n{done.stderr[-2000:]}", file=sys.stderr)
    return failed


def picture(example: Path) -> Path:
    """Return where an example's picture lies."""
    return PICTURES / f"{example.stem}.png"


def gallery() -> str:
    """Return the page of pictures, with the papers that an example belongs to; scripts without one come last."""
    lines = ["# Gallery", "", "Each picture is drawn by the script it is named after; a click shows it whole.", ""]
    others = ["## Scripts that print", ""]
    for name, text in re.findall(
        r"^\| `(.+?)` \| (.+?) \|$", (EXAMPLES / "README.md").read_text("utf-8"), re.MULTILINE
    ):
        numbers = sorted({claim.number for claim in papers.CLAIMS if claim.example == name})
        of = f" Paper {', '.join(map(str, numbers))} of the [list](papers.md)." if numbers else ""
        if not picture(Path(name)).exists():
            others += [f"- `{name}`: {text}.{of}"]
            continue
        place = f"gallery/{Path(name).stem}.png"
        title = " ".join(NAMES.get(word, word) for word in Path(name).stem[3:].split("_"))
        lines += [f"## {title[0].upper()}{title[1:]}", "", f"`{name}`: {text}.{of}", ""]
        lines += [f"[![{name}]({place})]({place})", ""]
    return "\n".join(lines + others) + "\n"


def claims() -> str:
    """Return the table of papers as a page."""
    lines = ["# Papers", "", "What each paper claims, and what came out here.", ""]
    title = ""
    for claim in papers.CLAIMS:
        if claim.title != title:
            title = claim.title
            lines += ["", f"## {claim.number}. {title}", ""]
        why = f" ({claim.why})" if claim.why else ""
        example = f"; example `{claim.example}`" if claim.example else ""
        lines += [
            f"- **{claim.verdict}**: {claim.claim}. Here: {claim.measured or '-'}{why}. `{claim.object}`, test "
            f"`{claim.test}`{example}."
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Make the generated pages, then the site; return 1 if an example gave no picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="run the examples in full (an hour and more)")
    parser.add_argument("--no-pictures", action="store_true", help="run no example")
    options = parser.parse_args()
    shutil.copytree(ROOT / "docs", PAGES, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    PICTURES.mkdir(exist_ok=True)
    failed = [] if options.no_pictures else pictures(options.full)
    (PAGES / "gallery.md").write_text(gallery(), encoding="utf-8")
    (PAGES / "papers.md").write_text(claims(), encoding="utf-8")
    models.write(PAGES / "models")
    for page in PAGES.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        for name in RESULT.findall(text):
            shutil.copy(ROOT / "benchmarks/results" / name, page.parent / name)
        page.write_text(RESULT.sub(r"](\1)", SOURCE.sub(r"`\1`", text)), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict"], cwd=ROOT, check=True)
    return min(len(failed), 1)


if __name__ == "__main__":
    sys.exit(main())

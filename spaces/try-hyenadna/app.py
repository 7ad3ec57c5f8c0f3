"""The page of the demo: three tabs, over the functions of answers.py.

python spaces/try-hyenadna/app.py
"""

import os
from collections.abc import Callable

import gradio as gr
from answers import (
    DEMO,
    IN_A_LOGO,
    LONGEST,
    LONGEST_GENOME,
    MOST_BYTES,
    MOST_ROWS,
    Answer,
    of_pairs,
    of_sequence,
    of_variants,
    sentence,
)

TITLE = "Try HyenaDNA"
ABOUT = f"""# {TITLE}

Log-likelihoods, vectors and importance of each base, by a HyenaDNA language model on a CPU. Unless you name another, it
is the small demo model of the package hyenadna-dart, trained on excerpts of one chromosome: a demonstration, none of
the released checkpoints. Nothing here is a clinical statement. What you paste is held while the answer is made, and not
kept."""
STYLE = """
.gradio-container { max-width: 60rem !important; margin: auto; }
.scroll { overflow-x: auto; contain: inline-size; }
.answer tr, .answer thead, .answer tbody { border: none !important; }
.answer table { border-collapse: collapse; border: none; font-variant-numeric: tabular-nums; }
.answer th, .answer td { padding: 0.25rem 0.75rem 0.25rem 0 !important; text-align: left; white-space: nowrap;
    border: none !important; border-bottom: 1px solid var(--border-color-primary) !important; }
.answer h2 { margin: 1rem 0 0.5rem; font-size: 1.15rem; }
.answer p { margin: 0.5rem 0; }
.answer .picture { background: white; max-width: 100%; padding: 0.25rem; }
.answer .wide { max-width: none; width: 1100px; }
.answer .bars { width: 100%; height: 6rem; fill: var(--body-text-color); }
.fault { color: var(--error-text-color, #b91c1c); font-weight: 600; }
"""
EXAMPLE = "CGGCGCGCCTGCGGAGGCTGCGGAGCCGCGGGGAGGGGCGGGGCCGGCGCGGCGCGGAGCCGCGGACGTTGCAGGAAACTGACGTCAGCCGGGCGGGAGCTCC"
GENOME = f">example\n{EXAMPLE}\n"
VARIANTS = "example\t20\t.\tG\tA\t.\t.\t.\nexample\t50\t.\tC\tT\t.\t.\t.\n"
PAIRS = f"{EXAMPLE[:40]} {EXAMPLE[:20]}A{EXAMPLE[21:40]}\n"


def shown(answer: Callable[..., Answer]) -> Callable[..., tuple[str, str, str]]:
    """A function of the page: an answer, or the sentence that says what is wrong."""

    def act(*given: object) -> tuple[str, str, str]:
        try:
            page, table = answer(*given)
        except (ValueError, OSError, ImportError) as error:
            return f'<p class="fault" role="alert">{escaped(sentence(error))}</p>', "", ""
        return "", f'<div class="answer">{page}</div>', table

    return act


def escaped(text: str) -> str:
    """Text in HTML."""
    import html

    return html.escape(text)


def tab(answer: Callable[..., Answer], button: str, inputs: list[gr.components.Component]) -> None:
    """A button, and below it where the answer comes."""
    run = gr.Button(button, variant="primary")
    fault, page = gr.HTML(), gr.HTML()
    table = gr.Textbox(label="The table as text, to copy", lines=3, max_lines=8, buttons=["copy"], interactive=False)
    run.click(shown(answer), inputs, [fault, page, table], api_visibility="private")


def theme() -> gr.themes.Base:
    """The system's fonts, so that none is loaded, and colours that can be read."""
    own = gr.themes.Base(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    texts = ("block_info_text_color", "block_label_text_color", "block_title_text_color")
    return own.set(**{f"{name}{dark}": "*body_text_color" for name in texts for dark in ("", "_dark")})


def build() -> gr.Blocks:
    """The page."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(ABOUT)
        model = gr.Textbox(
            label="Model",
            placeholder=DEMO,
            info=f"Empty for {DEMO}, or OWNER/MODEL on the Hub: safetensors of up to {MOST_BYTES / 1e6:.0f} MB. "
            "No code of a repository is run.",
            max_length=200,
        )
        with gr.Tab("Sequence"):
            sequence = gr.Textbox(
                EXAMPLE,
                label="Sequence",
                lines=5,
                max_lines=12,
                max_length=2 * LONGEST,
                info=f"A, C, G, T and N, or one FASTA record; 2 to {LONGEST:,} bases. "
                f"The logo is of the middle {IN_A_LOGO}.",
            )
            tab(of_sequence, "Score, embed and draw", [sequence, model])
        with gr.Tab("Variants"):
            vcf = gr.Textbox(
                VARIANTS,
                label="VCF",
                lines=4,
                max_lines=12,
                max_length=100_000,
                info=f"CHROM, POS (from 1), ID, REF, ALT; up to {MOST_ROWS} lines.",
            )
            genome = gr.Textbox(
                GENOME,
                label="FASTA of the contigs",
                lines=4,
                max_lines=12,
                max_length=2 * LONGEST_GENOME,
                info=f"Up to {LONGEST_GENOME:,} characters.",
            )
            window = gr.Slider(64, 1000, 512, step=2, label="Bases around a variant that the model reads")
            tab(of_variants, "Score the variants", [vcf, genome, window, model])
        with gr.Tab("Pairs"):
            pairs = gr.Textbox(
                PAIRS,
                label="Pairs of sequences",
                lines=4,
                max_lines=12,
                max_length=2 * MOST_ROWS * LONGEST + 10_000,
                info=f"Two sequences a line, with a space between them; up to {MOST_ROWS} lines.",
            )
            tab(of_pairs, "Compare the pairs", [pairs, model])
    return page


if __name__ == "__main__":
    port = os.environ.get("GRADIO_SERVER_PORT")
    start = build().queue(max_size=20).launch
    start(css=STYLE, theme=theme(), footer_links=["gradio"], server_port=int(port) if port else None)

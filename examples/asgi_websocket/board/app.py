"""What things cost with tax; the page computes anew while the slider moves."""

from shiny import App, Inputs, render, ui

page = ui.page_fixed(
    ui.input_slider("net", "Net", min=0, max=1000, value=100),
    ui.output_text("gross"),
    title="Net and gross",
)


def serve(inputs: Inputs) -> None:
    """Answer one browser."""

    @render.text
    def gross() -> str:
        return f"With tax: {inputs.net() * 1.19:.2f}"


app = App(page, serve)

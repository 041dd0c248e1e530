"""`vdla design list|show|check`."""

from __future__ import annotations

import typer

from vdla.cli.console import print_json, say, table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Accelerator designs: list, show, check.")
Json = typer.Option(False, "--json", help="One JSON document on stdout.")


@app.command("list")
def list_designs(json: bool = Json) -> None:
    """List the designs that come with VDLA."""
    from vdla.design import load_design, shipped_designs

    designs = [load_design(name) for name in shipped_designs()]
    if json:
        return print_json([{"name": d.name, "about": d.about, "peak_gops": d.peak_gops} for d in designs])
    rows = [[d.name, f"{d.peak_gops:,.1f}", d.about] for d in designs]
    return say(table([("design", "left"), ("peak GOPS", "right"), ("about", "left")], rows))


@app.command("show")
def show(design: str = typer.Argument(help="A YAML file or a name from `vdla design list`."), json: bool = Json) -> None:
    """Show a design and everything derived from it.

    Example: vdla design show pynq_z1
    """
    from vdla.design import load_design

    loaded = load_design(design)
    derived = derived_properties(loaded)
    if json:
        return print_json({**loaded.model_dump(), "derived": derived})
    say(f"{loaded.name}: {loaded.about}\n")
    for section, values in loaded.model_dump(exclude={"name", "about"}).items():
        text = ", ".join(f"{k} {v}" for k, v in values.items()) if isinstance(values, dict) else str(values)
        say(f"  {section:<10} {text}")
    say("\nderived")
    for name, value in derived.items():
        say(f"  {name:<20} {value}")
    return None


@app.command("check")
def check(designs: list[str] = typer.Argument(help="YAML files or names."), json: bool = Json) -> None:
    """Validate designs; every problem is reported at once, with the path of its key.

    Example: vdla design check my_design.yaml
    """
    from vdla.design import load_design

    loaded = [load_design(name) for name in designs]
    if json:
        return print_json([{"design": d.name, "hash": d.hash_hex, "ok": True} for d in loaded])
    for d in loaded:
        say(
            f"{d.name}: ok, {d.peak_gops:,.1f} GOPS peak, {d.bytes_per_cycle * d.clock_mhz / 1000:,.2f} GB/s, hash {d.hash_hex}"
        )
    return None


def derived_properties(design) -> dict[str, object]:
    """Name → value of every derived property, with units in the name."""
    names = [name for name, value in vars(type(design)).items() if isinstance(value, property)]
    return {name: getattr(design, name) for name in names}

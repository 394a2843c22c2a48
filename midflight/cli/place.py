"""`midflight place`: which device runs which step of an application, and why."""

from __future__ import annotations

from pathlib import Path

import click

from midflight.cli.options import FiniteRange, SvgFile, json_file_option, writable

__all__ = ["place"]

EPILOG = """\b
Examples:
  midflight place app.yaml --topology net.yaml
  midflight place app.yaml --topology net.yaml --objective latency --picture plan.svg --json plan.json
  midflight place app.yaml --topology net.yaml --without spine1      the plan if spine1 fails
"""


@click.command(epilog=EPILOG)
@click.argument("app", metavar="APP.yaml", type=click.Path(path_type=Path))
@click.option("--topology", metavar="NET.yaml", type=click.Path(path_type=Path), required=True, help="The network.")
@click.option(
    "--objective",
    type=click.Choice(["bytes", "latency", "energy", "spare"]),
    default="bytes",
    show_default=True,
    help="Minimise the traffic on all links, the longest time to a result, the watts of the devices by their load, or "
    "the load of the busiest link or device.",
)
@click.option(
    "--method",
    type=click.Choice(["auto", "exact", "heuristic"]),
    default="auto",
    show_default=True,
    help="The search: exact (a mixed-integer program) or heuristic; auto chooses by size.",
)
@click.option("--without", "failed", metavar="DEVICE", multiple=True, help="Plan as if this device had failed.")
@click.option(
    "--patience",
    metavar="S",
    type=FiniteRange(0.1, 86_400),
    default=60.0,
    show_default=True,
    help="The longest time for the exact search, in seconds.",
)
@json_file_option("plan")
@click.option("--picture", metavar="FILE.svg", type=SvgFile(), callback=writable, help="Save a picture, as SVG.")
def place(
    app: Path,
    topology: Path,
    objective: str,
    method: str,
    failed: tuple[str, ...],
    patience: float,
    json_to: str | None,
    picture: Path | None,
) -> None:
    """Decide which device runs which step of an application, and by which paths its traffic goes.

    Every limit of devices and links is kept. Each choice and each rejection is explained. What fits on no switch runs
    on a host. The exit status is 1 if no plan that keeps all limits is found; only the exact search, within its
    time, proves that there is none.
    """
    from midflight.cli.output import write_files, write_json
    from midflight.cli.terminal import console_beside
    from midflight.cli.userfile import load_program
    from midflight.errors import MidflightError
    from midflight.runtime.checked import CheckedProgram
    from midflight.runtime.placement.planner import Costs, moved, plan, without
    from midflight.runtime.placement.planner.drawing import picture as draw
    from midflight.runtime.placement.planner.files import load_application, load_network

    file, network = load_application(app), load_network(topology)
    costs = Costs.free()
    if file.program is not None:
        costs = Costs.of(CheckedProgram(load_program(file.program).p4(), str(file.program.with_suffix(".p4"))))
    found = plan(network, file.application, costs, objective, method=method, patience=patience)
    console = console_beside(json_to)
    gone: list[str] = []
    for device in dict.fromkeys(failed):
        before, network = found, without(network, device)
        gone.append(device)
        for each in file.application.ends:
            if device in each.at:
                raise MidflightError(f"{each.name} is at {device}, which --without removes", place=each.place)
        try:
            found = plan(network, file.application, costs, objective, method=method, patience=patience)
        except MidflightError as error:
            # There was a plan with the device.
            raise MidflightError(f"without {', '.join(gone)}, {error.message}", hint=error.hint) from None
        changes = [f"{step} from {old} to {new}" for step, (old, new) in moved(before, found).items()]
        console.print(f"Without {device}: {'; '.join(changes) or 'nothing moves'}", soft_wrap=True)
    console.print(found.explain(), soft_wrap=True, markup=False)
    one, other, load = found.busiest
    proof = "the best plan" if found.exact else "the best plan found"
    console.print(f"{objective}: {found.amount}, {proof}", soft_wrap=True)
    if one:
        console.print(f"Busiest link: {one} to {other}, {load / 1e6:,.1f} Mbit/s", soft_wrap=True)
    console.print(f"Latency: {found.loads.latency / 1e3:,.1f} us", soft_wrap=True)
    if picture is not None:
        write_files({picture: draw(network, found)})
        console.print(f"Picture: {picture}", soft_wrap=True)
    if json_to:
        write_json(found.json(), json_to)

"""Generalised Born models, read off OpenMM's forces by their expressions."""

import re
from typing import NamedTuple

import numpy as np
import openmm

from predcg.errors import InputError
from predcg.systems.particles import plain

FALLBACK = "; use OpenMM itself with system.workers=2"
NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"
# OpenMM's force-field files and its AMBER reader write these expressions; a captured number is a parameter of the
# model.
DESCREENING = (
    "select(step(r+sr2-or1),0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/(U^2)-1/(L^2))+0.5*log(L/U)/r),0);"
    "U=r+sr2;L=max(or1,D);D=abs(r-sr2)"
)
NECK = (
    "Ivdw+neckScale*Ineck;Ineck=step(radius1+radius2+neckCut-r)*getm0(radindex1,radindex2)/(1+100*(r-getd0(radindex1,radindex2))^2+"
    "0.3*1000000*(r-getd0(radindex1,radindex2))^6);Ivdw="
    + DESCREENING
    + ";radius1=or1+offset;radius2=or2+offset;neckScale=@;neckCut=@;offset=@"
)
HCT_RADIUS = "1/(1/or-I)"
OBC1_RADIUS = "1/(1/or-tanh(@*psi+@*psi^3)/radius);psi=I*or;radius=or+offset;offset=@"
OBC2_RADIUS = "1/(1/or-tanh(psi-@*psi^2+@*psi^3)/radius);psi=I*or;radius=or+offset;offset=@"
GBN_RADIUS = "1/(1/or-tanh(@*psi-@*psi^2+@*psi^3)/radius);psi=I*or;radius=or+offset;offset=@"
GBN2_RADIUS = "1/(1/or-tanh(alpha*psi-beta*psi^2+gamma*psi^3)/radius);psi=I*or;radius=or+offset;offset=@"
CONSTANTS = ";solventDielectric=@;soluteDielectric=@;kappa=0;offset=@"
SELF = "-0.5*@*(1/soluteDielectric-1/solventDielectric)*charge^2/B" + CONSTANTS
ACE = "@*(radius+0.14)^2*(radius/B)^6;radius=or+offset" + CONSTANTS
PAIR = "-@*(1/soluteDielectric-1/solventDielectric)*charge1*charge2/f;f=sqrt(r^2+B1*B2*exp(-r^2/(4*B1*B2)))" + CONSTANTS


class BornParameters(NamedTuple):
    """One generalised Born model of n atoms, in nm, kJ/mol and elementary charges.

    Args:
        charge, offset_radius, scaled_radius: per atom, (n,).
        offset: radius minus offset radius.
        tanh: α, β, γ of 1/B = 1/õ - tanh(αψ - βψ² + γψ³)/ρ, (3, n); None for HCT, 1/B = 1/õ - I.
        scale: -(1/ε_in - 1/ε_out)/(4πε_0), kJ/mol nm.
        surface: 4π times the surface tension of the ACE term, kJ/mol/nm²; 0 without it.
        engulfed: 1 where the screening by an atom that holds another one inside is continued as in OpenMM's own OBC2
            force, else 0.
        neck: distance and height of the neck of each pair, (2, n, n), and its cut-off; None but for GBn and GBn2.
    """

    charge: np.ndarray
    offset_radius: np.ndarray
    scaled_radius: np.ndarray
    offset: float
    tanh: np.ndarray | None
    scale: float
    surface: float
    engulfed: float = 0.0
    neck: tuple[np.ndarray, float] | None = None


def read_obc2(force: openmm.GBSAOBCForce, coulomb: float) -> BornParameters:
    """OpenMM's own OBC2 force, whose constants are part of its definition (Onufriev, Bashford, Case 2004, model II)."""
    charge, radius, scale = np.array(
        [[plain(v) for v in force.getParticleParameters(i)] for i in range(force.getNumParticles())]
    ).T
    tanh = np.outer([1.0, 0.8, 4.85], np.ones_like(charge))
    energy = -coulomb * (1 / force.getSoluteDielectric() - 1 / force.getSolventDielectric())
    surface = 4 * np.pi * plain(force.getSurfaceAreaEnergy())
    return BornParameters(charge, radius - 0.009, scale * (radius - 0.009), 0.009, tanh, energy, surface, engulfed=1.0)


def read_custom(force: openmm.CustomGBForce) -> BornParameters:
    """HCT, OBC1, OBC2, GBn or GBn2 as OpenMM writes them as a custom force. Raises InputError on any other."""
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    columns = dict(
        zip(names, np.array([force.getParticleParameters(i) for i in range(force.getNumParticles())]).T, strict=True)
    )
    values = {
        name: text
        for name, text, _ in (force.getComputedValueParameters(i) for i in range(force.getNumComputedValues()))
    }
    if (
        values.keys() != {"I", "B"}
        or not {"charge", "or", "sr"} <= columns.keys()
        or force.getNumExclusions()
        or force.getNumGlobalParameters()
    ):
        raise _unknown(force, "its values or parameters")
    neck = None
    if (found := _match(NECK, values["I"])) is not None:
        height, cutoff, _ = found
        tables = {
            force.getTabulatedFunctionName(i): force.getTabulatedFunction(i)
            for i in range(force.getNumTabulatedFunctions())
        }
        index = columns["radindex"].astype(int)
        distance, depth = (_table(tables[name])[np.ix_(index, index)] for name in ("getd0", "getm0"))
        neck = np.stack([distance, height * depth]), cutoff
    elif _match(DESCREENING, values["I"]) is None:
        raise _unknown(force, "its value I")
    ones = np.ones_like(columns["or"])
    if _match(HCT_RADIUS, values["B"]) is not None:
        tanh, offset = None, 0.009
    elif (found := _match(OBC1_RADIUS, values["B"])) is not None:
        tanh, offset = np.outer([found[0], 0.0, found[1]], ones), found[2]
    elif (found := _match(OBC2_RADIUS, values["B"])) is not None:
        tanh, offset = np.outer([1.0, *found[:2]], ones), found[2]
    elif (found := _match(GBN_RADIUS, values["B"])) is not None:
        tanh, offset = np.outer(found[:3], ones), found[3]
    elif (found := _match(GBN2_RADIUS, values["B"])) is not None:
        tanh, offset = np.stack([columns[name] for name in ("alpha", "beta", "gamma")]), found[0]
    else:
        raise _unknown(force, "its value B")
    scale, surface = _energy_terms(force)
    return BornParameters(columns["charge"], columns["or"], columns["sr"], offset, tanh, scale, surface, neck=neck)


def _energy_terms(force: openmm.CustomGBForce) -> tuple[float, float]:
    scales, surface = {}, 0.0
    for text, _ in (force.getEnergyTermParameters(i) for i in range(force.getNumEnergyTerms())):
        if (found := _match(ACE, text)) is not None:
            surface = found[0]
        elif (found := _match(SELF, text) or _match(PAIR, text)) is not None:
            scales[_match(SELF, text) is None] = -found[0] * (1 / found[2] - 1 / found[1])
        else:
            raise _unknown(force, f"its energy term {text.split(';')[0]}")
    if len(scales) != 2 or scales[True] != scales[False]:
        raise _unknown(force, "a missing energy term, or one with other constants,")
    return scales[True], surface


def _match(template: str, text: str) -> list[float] | None:
    """The numbers at the places of @ where text is the template, else None; white space does not count."""
    found = re.fullmatch(re.escape(template).replace("@", NUMBER), re.sub(r"\s", "", text).rstrip(";"))
    return None if found is None else [float(number) for number in found.groups()]


def _table(function: openmm.Discrete2DFunction) -> np.ndarray:
    rows, columns, values = function.getFunctionParameters()
    return np.array(values).reshape(columns, rows).T


def _unknown(force: openmm.Force, what: str) -> InputError:
    expected = "HCT, OBC1, OBC2, GBn or GBn2 without salt and cut-off"
    return InputError(
        f"system.forcefield: expected {force.getName()} to be {expected}; {what} belongs to none of them{FALLBACK}"
    )
